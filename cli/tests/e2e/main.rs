//! AFU-9 from outside: its roles as processes, real servers, a simulated GitHub as the witness of
//! what they did, and SIGKILL at bad moments.

mod harness;

mod alone;
mod answers_lost;
mod bench;
mod chaos;
mod command_line;
mod dead_letters;
mod killed_roles;
mod killing_job;
mod nats_restart;
mod ownership;
mod permissions;
mod postgres_away;
mod rolling;
mod scaling;
mod soak;
mod webhook_to_pull_request;
mod without_database;
