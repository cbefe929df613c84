//! Routes: which webhook delivery starts which workflow, with which input.
//!
//! Routes are configuration ([`routes_from_toml`]), and so are the rules of definitions. Deciding is
//! pure ([`decide()`], [`decide_by_rules`]); the router carries out what was decided.

mod decide;
mod read;
mod rule;

use afu9_engine::expression::{Condition, Template};

pub(crate) use decide::{Decision, decide, key, permanent};
pub use read::{RouteError, routes_from_toml};
pub(crate) use rule::decide_by_rules;

/// The roots that a route's expressions can read: the payload, and the delivery's
/// `{id, source, event, action}`.
pub(crate) const ROOTS: [&str; 2] = ["event", "delivery"];

/// One route.
#[derive(Debug, Clone)]
pub struct Route {
    /// Unique; part of the ids of the executions it starts, so a renamed route is another route.
    pub name: String,
    /// Who sends the deliveries (`github`).
    pub source: String,
    /// The event, as the sender names it (`issues`).
    pub event: String,
    /// Only deliveries with this `action`.
    pub action: Option<String>,
    /// Only deliveries of these repositories (`owner/name`, whatever their case).
    pub repositories: Option<Vec<String>>,
    /// Only deliveries for which this holds. A field that is not there makes it not hold.
    pub filter: Option<Condition>,
    /// The workflow it starts.
    pub workflow: String,
    /// The execution's input.
    pub input: Template,
}
