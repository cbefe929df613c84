//! History against a real Postgres.

#[path = "history/stories.rs"]
mod stories;
#[path = "history/support.rs"]
mod support;

#[path = "history/audit.rs"]
mod audit;
#[path = "history/control.rs"]
mod control;
#[path = "history/dead_letters.rs"]
mod dead_letters;
#[path = "history/projection.rs"]
mod projection;
#[path = "history/queries.rs"]
mod queries;
#[path = "history/retention.rs"]
mod retention;
#[path = "history/schema.rs"]
mod schema;
#[path = "history/writing.rs"]
mod writing;
