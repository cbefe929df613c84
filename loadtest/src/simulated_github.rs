//! A GitHub that runs in this process: a real HTTP server that answers like `api.github.com`.
//!
//! For demonstrations, integration tests, load and chaos tests. It speaks REST version 2022-11-28
//! for the routes that the GitHub worker uses, keeps all state in memory, computes real git object
//! ids, enforces tokens, permissions and rate limits, and can be told to fail in the ways GitHub
//! fails. What happened is in a log of effects, which is the outside witness of the invariants.
//!
//! Invariants: a request's effect is atomic, and recorded if and only if it happened; whether its
//! answer was lost is recorded with it; nothing here waits while it holds a lock. Repositories grow
//! with what is created in them until a reset; everything else is bounded.
//!
//! Not like GitHub: JSON web tokens are not verified against a key, a merge conflicts as soon as
//! both sides changed the same file, a file's diff is one hunk, `mergeable` is known at once, and
//! there are no reviews, checks, forks, branch protection or closing keywords.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use afu9_loadtest::simulated_github::{Config, Fault, FaultKind, serve};
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let shutdown = tokio_util::sync::CancellationToken::new();
//! let github = serve(listener, Config::demo(), shutdown.clone()).await?;
//! github.handle.add_fault(Fault::once("POST", "/pulls", FaultKind::DropAfterEffect))?;
//! // … point a worker at `github.base_url` …
//! shutdown.cancel();
//! github.join().await
//! # }
//! ```

mod auth;
mod config;
mod connection;
mod delivery;
mod effect;
mod failure;
mod fault;
mod front;
mod git;
mod handle;
mod jwt;
mod page;
mod rate_limit;
mod repository;
mod routes;
mod server;
mod simulation;
mod stats;
mod target;
mod view;
pub mod webhook;

#[cfg(test)]
mod tests;

pub use auth::{Access, Area};
pub use config::{
    Anonymous, AppSeed, Config, DEFAULT_PRIMARY_LIMIT, DEFAULT_PRIMARY_WINDOW, InstallationSeed,
    IssueSeed, RepositorySeed, TokenKind, TokenSeed, Visibility,
};
pub use delivery::{Delivered, Delivery};
pub use effect::{EFFECTS_KEPT, Effect, EffectKind};
pub use fault::{ActiveFault, Fault, FaultKind, FaultMatch, Moment};
pub use handle::{Handle, IssueState, PullRequestState, RepositoryState};
pub use server::{Running, serve};
pub use stats::Stats;
