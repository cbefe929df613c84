//! The way in from outside: webhooks, triggers and questions over HTTP, and the router that turns
//! stored webhook deliveries into executions.
//!
//! Called by the binary, which builds a [`Gateway`] from a [`Config`] and runs it; tests run the same
//! code on a free port.
//!
//! What is accepted here (a 2xx answer) is stored in JetStream before it is answered. Postgres is
//! only asked, and only if there is one: without it, executions, webhooks and triggers work, and the
//! past is what the HISTORY stream still holds. (What becomes of dead letters is the exception: that is
//! in Postgres alone, and so is the list of them.)
//!
//! **Architecture Invariant:** only this crate knows HTTP. **Architecture Invariant:** a handler
//! never waits for an execution to get anywhere; it stores an input and answers. (What a wish came to
//! is decided when the input is folded, so that is waited for, a moment.)

mod accepted;
mod app;
mod bulk;
mod catalog;
mod config;
mod control;
mod dead_letters;
mod definitions;
mod diff;
mod executions;
mod explain;
mod feed;
mod fleet;
mod form;
mod gateway;
mod holds;
mod http;
mod metrics;
mod observed;
mod orchestrators;
mod problem;
mod readiness;
mod rerun;
mod route;
mod router;
mod schedules;
mod signature;
mod stored;
mod submission;
mod switches;
mod traceparent;

pub use config::{Config, InvalidScope, Limits, Scope, TokenConfig};
pub use gateway::{Error, Gateway};
pub use metrics::{Counter, Metrics};
pub use route::{Route, RouteError, routes_from_toml};
