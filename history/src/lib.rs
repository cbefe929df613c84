//! Everything AFU-9 keeps to look back: the Postgres schema, the projector that writes it from the
//! HISTORY stream, and the queries over it.
//!
//! Used by the binary (which runs the [`Projector`]) and by the gateway (which asks the [`Store`]).
//!
//! Postgres is never on the path of a running workflow. History is published to JetStream; the
//! projector writes it in batches, whenever Postgres is there, and acknowledges a message only after
//! the commit. So Postgres may be away for hours: nothing stops, and its rows are complete afterwards.
//!
//! Dead letters are written the same way from a stream of their own, which keeps them. What became of
//! one is written by the gateway, once.
//!
//! Every row is keyed by what it describes (execution; execution, step and item; these and attempt;
//! request), so the same messages may be written again, in any order and by several projectors at
//! once, and the rows come out the same. Where several events tell one row, the event with the highest
//! number counts.
//!
//! **Architecture Invariant:** this is the only crate that names sqlx or contains SQL; one function
//! per query.

mod failure;
mod identity;
pub mod projector;
pub mod query;
mod rows;
mod store;
mod text;
mod write;

pub use projector::{Handle, LetterProjector, Projector, Source, StreamSource};
pub use query::{
    AuditCursor, AuditEntry, AuditFilter, Cursor, ExecutionFilter, ItemFilter, LetterCursor,
    LetterEntry, LetterFilter, LetterState, MAX_LETTERS, OpenLetters, QueryError, Relation,
    WorkflowSummary,
};
pub use rows::Rows;
pub use rows::dead_letter::Letter;
pub use store::{CheckError, Config, ConfigError, MigrateError, PartitionError, Store};
pub use write::{Poison, Settlement, WriteError, Written};
