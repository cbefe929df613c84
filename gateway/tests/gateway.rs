//! The gateway over HTTP against a real nats-server, without an orchestrator: what it stores is read
//! back from the streams. Where live executions are asked for, a small owner stands in: one that knows
//! what it is told, or one that folds the log with the engine.

#[path = "gateway/folding.rs"]
mod folding;
#[path = "gateway/support.rs"]
mod support;

#[path = "gateway/bulk.rs"]
mod bulk;
#[path = "gateway/controls.rs"]
mod controls;
#[path = "gateway/dead_letters.rs"]
mod dead_letters;
#[path = "gateway/decisions.rs"]
mod decisions;
#[path = "gateway/edges.rs"]
mod edges;
#[path = "gateway/events.rs"]
mod events;
#[path = "gateway/executions.rs"]
mod executions;
#[path = "gateway/explain.rs"]
mod explain;
#[path = "gateway/holds.rs"]
mod holds;
#[path = "gateway/reruns.rs"]
mod reruns;
#[path = "gateway/routing.rs"]
mod routing;
#[path = "gateway/rules.rs"]
mod rules;
#[path = "gateway/switches.rs"]
mod switches;
#[path = "gateway/triggers.rs"]
mod triggers;
#[path = "gateway/versions.rs"]
mod versions;
#[path = "gateway/webhooks.rs"]
mod webhooks;
#[path = "gateway/workflows.rs"]
mod workflows;
