//! JetStream as AFU-9 uses it: topology, pipelined publishing, the input log, work queues, history,
//! dead letters, heartbeats, artifacts and the key-value buckets.
//!
//! Called by every role. What is published here is typed; what is read comes decoded, or with the
//! reason why it could not be.
//!
//! **Architecture Invariant:** only this crate names async-nats. **Architecture Invariant:** no
//! publish is left without its acknowledgement being awaited, and every queue and window is bounded
//! by a named constant.

pub mod artifact;
pub mod config;
pub mod connection;
pub mod dead_letter;
pub mod error;
pub mod heartbeat;
pub mod history;
pub mod inbox;
pub mod kv;
pub mod log;
pub mod publish;
mod pull;
pub mod query;
pub mod topology;
pub mod work;

pub use config::{Auth, Config, Durability, Replicas};
pub use connection::Broker;
pub use error::{ConnectError, PublishError, RequestError};
