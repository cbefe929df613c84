//! The pure core: expressions, retry policy, the state machine of one execution, and the fold of a
//! partition of the input log.
//!
//! Called by the orchestrator, which gives it inputs and carries out the effects it returns, and by
//! the gateway and the command line, which compile definitions to validate them.
//!
//! **Architecture Invariant:** nothing here waits, reads a clock, draws a random number or performs
//! input or output; the manifest has no crate that could. The same inputs with the same timestamps
//! give the same states and effects, which is what recovery by replay rests on.

pub mod checkpoint;
pub mod execution;
pub mod expression;
pub mod partition;
pub mod replay;
pub mod requests;
pub mod retry;
pub mod schedule;
pub mod submit;
pub mod workflow;

pub use execution::{Effect, Ended, Execution, ResolveChild};
pub use partition::{Definitions, POISON, PartitionState, Remedy};
pub use workflow::Workflow;
