//! A rolling restart: every process is told to end and started again, one after the other, while clients
//! submit and look. They see nothing of it but connections to a gateway that is away.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::try_join_all;
use serde_json::json;

use crate::harness::Factory;
use crate::harness::api::{Answer, Api};
use crate::harness::database::Storage;
use crate::harness::definition::NOOP_5;
use crate::harness::leases::{Leases, is_shared, shares};
use crate::harness::wait;

const CLIENTS: usize = 6;

const STEPS: u64 = 5;

const PATIENCE: Duration = Duration::from_secs(60);

/// So many more executions end between two restarts: whoever was started again has its share of them.
const BETWEEN: usize = 10;

/// No gateway is away.
const NONE: usize = usize::MAX;

/// What the clients and the test share.
struct Traffic {
    gateways: [Api; 2],
    /// The gateway that is being restarted.
    away: AtomicUsize,
    /// Connections to it that were refused.
    refused: AtomicUsize,
    /// And those that were closed instead of an answer.
    closed: AtomicUsize,
    completed: AtomicUsize,
    end: AtomicBool,
}

impl Traffic {
    /// Asks one gateway after the other. Only one that is away may leave a request without an answer.
    async fn ask(
        &self,
        turn: usize,
        request: impl AsyncFn(&Api) -> Result<Answer>,
    ) -> Result<Answer> {
        for turn in turn..turn + 100 {
            let number = turn % self.gateways.len();
            match request(&self.gateways[number]).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    let away = self.away.load(Ordering::SeqCst);
                    ensure!(
                        away == number,
                        "gateway {number}, which was there: {error:?}"
                    );
                    let error = error.downcast_ref::<reqwest::Error>();
                    let refused = error.is_some_and(reqwest::Error::is_connect);
                    let seen = if refused { &self.refused } else { &self.closed };
                    seen.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        bail!("no gateway answers")
    }

    /// Starts executions and sees each of them complete, until told to end. Returns their ids.
    async fn client(&self, client: usize) -> Result<Vec<String>> {
        let body = json!({ "input": {} });
        let mut ids = Vec::new();
        for number in 0.. {
            if self.end.load(Ordering::Relaxed) {
                break;
            }
            let (turn, key) = (client + number, format!("{client}-{number}"));
            let path = "/api/workflows/noop_5/trigger";
            let started = self
                .ask(turn, async |api| api.post_once(path, &body, &key).await)
                .await?;
            ensure!(matches!(started.status, 200 | 202), "{started:?}");
            let id = started.json["executionId"].as_str().context("an id")?;
            let path = format!("/api/executions/{id}");
            let completed = wait::until("an execution to complete", PATIENCE, async || {
                let shown = self.ask(turn, async |api| api.get(&path).await).await?;
                ensure!(shown.status == 200, "{shown:?}");
                match shown.json["execution"]["status"].as_str() {
                    Some("completed") => Ok(Some(())),
                    Some("pending" | "running") => Ok(None),
                    _ => bail!("{id} is not completed: {shown:?}"),
                }
            });
            completed.await?;
            self.completed.fetch_add(1, Ordering::Relaxed);
            ids.push(id.to_owned());
        }
        Ok(ids)
    }

    /// Waits until some more executions have completed.
    async fn goes_on(&self) -> Result<()> {
        let wanted = self.completed.load(Ordering::Relaxed) + BETWEEN;
        wait::until("executions to complete", PATIENCE, async || {
            let completed = self.completed.load(Ordering::Relaxed);
            let failed = self.end.load(Ordering::Relaxed);
            ensure!(!failed, "a client has seen an error");
            Ok((completed >= wanted).then_some(()))
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_see_nothing_of_a_rolling_restart_of_every_role() -> Result<()> {
    let mut factory = Factory::new(Storage::Kept, 0).await?;
    for role in ["orchestrator", "worker"] {
        for number in 1..=2 {
            factory.launch(&format!("{role}-{number}"), &[role])?;
        }
    }
    factory.launch("projector", &["projector"])?;
    factory.launch("gateway-0", &["gateway"])?;
    let second = factory.launch_gateway_at_its_own("gateway-1")?;
    let gateways = [factory.api.clone(), second];
    for gateway in &gateways {
        gateway.wait_until_answering().await?;
    }
    gateways[0].apply("noop_5", NOOP_5).await?;
    let mut leases = Leases::open(&factory.nats.url).await?;
    leases.wait_until_shared().await?;

    let traffic = Arc::new(Traffic {
        gateways,
        away: AtomicUsize::new(NONE),
        refused: AtomicUsize::new(0),
        closed: AtomicUsize::new(0),
        completed: AtomicUsize::new(0),
        end: AtomicBool::new(false),
    });
    // On a thread of their own: nothing that the test does holds them up.
    let clients = tokio::task::spawn_blocking({
        let traffic = Arc::clone(&traffic);
        move || {
            let clients = (0..CLIENTS).map(|client| traffic.client(client));
            let seen = tokio::runtime::Handle::current().block_on(try_join_all(clients));
            traffic.end.store(true, Ordering::Relaxed);
            seen
        }
    });
    let restarted = restart_all(&mut factory, &traffic, &mut leases).await;
    traffic.end.store(true, Ordering::Relaxed);
    let seen = clients.await??.concat();
    let ids: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(ids.len(), seen.len(), "one execution for each submission");
    restarted?;
    let refused = traffic.refused.load(Ordering::Relaxed);
    let closed = traffic.closed.load(Ordering::Relaxed);
    let count = ids.len();
    eprintln!("{count} executions; {refused} connections refused, {closed} closed");
    // A request may meet the close of its connection once: an answer that was begun is finished.
    let connections = CLIENTS * traffic.gateways.len();
    assert!(closed <= connections, "{closed} requests had no answer");

    let count = ids.len() as u64;
    let database = factory.database();
    for (rows, count) in [
        ("workflow_executions WHERE status = 'completed'", count),
        ("workflow_executions", count),
        ("workflow_steps WHERE status = 'completed'", count * STEPS),
        ("workflow_steps", count * STEPS),
    ] {
        database.wait_for_count(rows, count, PATIENCE).await?;
    }
    factory.finish()
}

async fn restart_all(factory: &mut Factory, traffic: &Traffic, leases: &mut Leases) -> Result<()> {
    let mut before = shares(&leases.wait_until_shared().await?);
    for name in [
        "orchestrator-1",
        "orchestrator-2",
        "worker-1",
        "worker-2",
        "projector",
        "gateway-0",
        "gateway-1",
    ] {
        traffic.goes_on().await?;
        let gateway = name.strip_prefix("gateway-");
        let gateway: Option<usize> = gateway.map(str::parse).transpose()?;
        traffic
            .away
            .store(gateway.unwrap_or(NONE), Ordering::SeqCst);
        let told = std::time::Instant::now();
        let ended = factory.end(name)?;
        eprintln!("{name} ended within {:?}", told.elapsed());
        assert_eq!(ended.code(), Some(0), "{name}");
        factory.restart(name)?;
        if let Some(gateway) = gateway {
            traffic.gateways[gateway].wait_until_answering().await?;
        }
        traffic.away.store(NONE, Ordering::SeqCst);
        if name.starts_with("orchestrator") {
            let rejoined = leases.wait_until("its share for who was restarted", |owners| {
                let is_new = owners.values().any(|owner| !before.contains_key(owner));
                is_shared(owners) && is_new
            });
            before = shares(&rejoined.await?);
        }
    }
    traffic.goes_on().await
}
