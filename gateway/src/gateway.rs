//! The gateway as a component: what the binary builds and runs.

use std::collections::HashMap;
use std::sync::Arc;

use afu9_broker::Broker;
use afu9_broker::log::{LogWriter, Outside};
use afu9_history::Store;
use axum::serve::ListenerExt;
use futures::FutureExt;
use futures::future::BoxFuture;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::{dead_letters, fleet, http, observed, router};

/// A gateway that is not running yet.
#[derive(Debug)]
pub struct Gateway {
    config: Config,
    broker: Broker,
    store: Option<Store>,
    metrics: Arc<Metrics>,
}

/// Why a gateway ended although nobody wanted it to.
#[derive(Debug, Error)]
pub enum Error {
    /// The listener failed.
    #[error("the gateway cannot serve HTTP")]
    Serve(#[source] std::io::Error),
    /// A part that runs for ever ended.
    #[error("the gateway's {part} has ended unexpectedly")]
    Ended {
        /// Which part.
        part: &'static str,
    },
    /// A part panicked.
    #[error("the gateway's {part} has panicked")]
    Panicked {
        /// Which part.
        part: &'static str,
        /// How.
        #[source]
        source: tokio::task::JoinError,
    },
}

type Tasks = JoinSet<Result<(), Error>>;

impl Gateway {
    /// A gateway over `broker`, whose topology must be ensured, and over Postgres, if there is one.
    pub fn new(config: Config, broker: Broker, store: Option<Store>) -> Self {
        Self {
            config,
            broker,
            store,
            metrics: Arc::default(),
        }
    }

    /// What it counts.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Serves `listener`, routes deliveries and watches the fleet until `shutdown`; then takes no new
    /// request or delivery, and ends what is under way within the configured deadline.
    ///
    /// # Errors
    /// When a part of it ends or panics without being asked to: the process should end, loudly.
    pub async fn run(
        self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        let Self {
            config,
            broker,
            store,
            metrics,
        } = self;
        let drain = config.limits.drain;
        let in_memory = store.is_none();
        let (log, writer) = LogWriter::start_outside(broker.clone(), Outside::Gateway);
        let stop = shutdown.child_token();
        let app = Arc::new(App::new(config, broker, store, log, metrics, stop.clone()));

        let mut tasks = Tasks::new();
        let mut parts = HashMap::new();
        let serve = serve(listener, Arc::clone(&app), stop.clone());
        parts.insert(tasks.spawn(serve).id(), "server");
        let (shared, token) = (Arc::clone(&app), stop.clone());
        let routing = async move {
            router::run(shared, token).await;
            Ok(())
        };
        parts.insert(tasks.spawn(routing).id(), "router");
        for (name, part) in watchers(&app, in_memory) {
            let token = stop.clone();
            let watching = async move {
                token.run_until_cancelled(part).await;
                Ok(())
            };
            parts.insert(tasks.spawn(watching).id(), name);
        }

        let outcome = tokio::select! {
            // First, because every part ends as soon as it is wished.
            biased;
            () = shutdown.cancelled() => Ok(()),
            Some(ended) = tasks.join_next_with_id() => Err(unexpected(ended, &parts)),
        };
        stop.cancel();
        let deadline = Instant::now() + drain;
        let drained = timeout_at(deadline, drain_tasks(&mut tasks, &parts)).await;
        tasks.shutdown().await;
        // The writer ends when nobody can submit any more.
        drop(app);
        let written = timeout_at(deadline, writer.finished()).await;
        if drained.is_err() || written.is_err() {
            tracing::warn!(deadline_s = drain.as_secs(), "gateway not drained in time");
        }
        outcome
    }
}

/// What listens for ever, by name.
fn watchers(app: &Arc<App>, in_memory: bool) -> Vec<(&'static str, BoxFuture<'static, ()>)> {
    let shared = Arc::clone(app);
    let workers = async move { fleet::watch(&shared.broker, &shared.fleet).await };
    let shared = Arc::clone(app);
    let definitions = async move { shared.catalog.follow(&shared.definitions).await };
    let shared = Arc::clone(app);
    let feed = async move { shared.feed.run(&shared.broker, &shared.metrics).await };
    let mut watchers = vec![
        ("fleet watcher", workers.boxed()),
        ("definition follower", definitions.boxed()),
        ("event feed", feed.boxed()),
    ];
    if in_memory {
        let shared = Arc::clone(app);
        let history = async move {
            let App {
                broker,
                observed,
                metrics,
                ..
            } = &*shared;
            observed::observe(broker, observed, metrics).await;
        };
        watchers.push(("history observer", history.boxed()));
    } else {
        let shared = Arc::clone(app);
        let letters = async move { dead_letters::watch(&shared).await };
        watchers.push(("dead letter watcher", letters.boxed()));
    }
    watchers
}

async fn serve(listener: TcpListener, app: Arc<App>, stop: CancellationToken) -> Result<(), Error> {
    // Answers are small and somebody waits for them.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "connection without TCP_NODELAY");
        }
    });
    axum::serve(listener, http::router(app))
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
        .map_err(Error::Serve)
}

async fn drain_tasks(tasks: &mut Tasks, parts: &HashMap<Id, &'static str>) {
    while let Some(ended) = tasks.join_next_with_id().await {
        match ended {
            Ok((_, Ok(()))) => {}
            other => {
                let error = unexpected(other, parts);
                tracing::error!(error = %afu9_broker::error::chain(&error), "shutdown was not clean");
            }
        }
    }
}

fn unexpected(
    ended: Result<(Id, Result<(), Error>), tokio::task::JoinError>,
    parts: &HashMap<Id, &'static str>,
) -> Error {
    let part = |id: Id| parts.get(&id).copied().unwrap_or("task");
    match ended {
        Ok((id, Ok(()))) => Error::Ended { part: part(id) },
        Ok((_, Err(error))) => error,
        Err(source) => Error::Panicked {
            part: part(source.id()),
            source,
        },
    }
}
