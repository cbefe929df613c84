//! The imperative shell around the engine: which process owns which partition, the tick that folds
//! inputs and carries out their effects, timers, checkpoints and recovery.
//!
//! Called by the command line, which gives it a broker and a token to stop by.
//!
//! **Architecture Invariant:** nothing here decides what an execution does; that is the engine's.
//! Within a tick nothing is awaited between the first input and the last decision, and nothing is
//! decided after the first publish.

mod catalog;
mod checkpointer;
mod config;
mod coordinator;
mod dead_letters;
mod definitions;
mod followers;
mod lease;
mod outbox;
mod owner;
mod records;
mod schedule;
mod stats;
mod tick;
mod unstarted;
mod wait;

pub use config::Config;
pub use coordinator::{Error, Orchestrator};
pub use stats::{Stats, StatsSnapshot};
