//! The gateway over HTTP against a real nats-server, without an orchestrator: what it stores is read
//! back from the streams, and a small owner stands in where live executions are asked for.

#[path = "gateway/support.rs"]
mod support;

#[path = "gateway/edges.rs"]
mod edges;
#[path = "gateway/executions.rs"]
mod executions;
#[path = "gateway/routing.rs"]
mod routing;
#[path = "gateway/triggers.rs"]
mod triggers;
#[path = "gateway/webhooks.rs"]
mod webhooks;
#[path = "gateway/workflows.rs"]
mod workflows;
