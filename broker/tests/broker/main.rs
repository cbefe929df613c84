//! The broker on a real nats-server: what the other crates rely on, and what JetStream or its client
//! once did differently from what one would think.
//!
//! Each test has a server of its own. Raw JetStream is used beside the crate only to look at what is
//! stored, or to bring about what the crate itself never does.

mod artifacts;
mod checkpoints;
mod connection;
mod dead_letters;
mod definitions;
mod durable;
mod facts;
mod golden;
mod headroom;
mod history;
mod inbox;
mod leases;
mod log;
mod log_faults;
mod presence;
mod proxy;
mod publish;
mod schedules;
mod topology;
mod work;
mod work_faults;
mod work_patience;
mod world;
