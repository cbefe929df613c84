//! The outside servers that AFU-9 needs, as local processes: found or installed ([`provision`]),
//! started on free loopback ports ([`NatsServer`], [`Postgres`]) and ended again whatever happens to
//! the program that started them ([`process`]).
//!
//! Called by `cargo xtask` and, through [`fixture`], by the tests of every crate. Everything here is
//! synchronous: it must work in a test without a runtime and inside one alike.
//!
//! Invariants:
//! - Nothing listens on anything but 127.0.0.1.
//! - Whatever is started is ended, by pid, even when the starting program dies by SIGKILL.
//! - Postgres never runs as the root user.

#![expect(
    clippy::disallowed_methods,
    reason = "set-up is steered by environment variables that are no part of AFU-9's configuration, \
              and its waits poll other processes from plain threads"
)]

mod account;
mod directory;
mod disk;
pub mod fixture;
mod nats;
mod port;
mod postgres;
pub mod process;
pub mod provision;
pub mod sql;
pub mod wait;
mod watchdog;

pub use account::Account;
pub use directory::{RunDirectory, target_dir};
pub use disk::SmallDisk;
pub use nats::{Durability, NatsOptions, NatsServer};
pub use port::free_port;
pub use postgres::{Fsync, Postgres, PostgresOptions};
pub use provision::Progress;
