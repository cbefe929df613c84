//! A server, a gateway and a stand-in for the owners of partitions, all of one test.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use afu9_broker::log::{LogReader, LogWriter};
use afu9_broker::{Auth, Broker, Durability, Replicas};
use afu9_gateway::{Config, Error, Gateway, Metrics, Scope, TokenConfig, routes_from_toml};
use afu9_history::Store;
use afu9_schemas::message::{
    Cancel, Input, InputKind, ListCursor, ListFilter, OrchestratorStatus, Query, QueryReply, Start,
};
use afu9_schemas::view::{ExecutionSummary, ExecutionView};
use afu9_schemas::{ExecutionId, InstanceId, PartitionCount, WorkerKind};
use afu9_servers::fixture::{self, ServerFixture};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Nothing here takes more than a second or two on an idle machine.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

pub(crate) const SECRET: &str = "the webhook's secret";

/// A workflow of one step that needs no worker.
pub(crate) const ECHO: &str =
    "name: echo\nsteps:\n  - name: say\n    tool: test.echo\n    params: { value: \"${input}\" }\n";

/// A server of its own, with the topology.
pub(crate) struct World {
    pub(crate) nats: ServerFixture,
    pub(crate) broker: Broker,
}

pub(crate) fn limits() -> afu9_broker::config::Limits {
    afu9_broker::config::Limits::default()
}

pub(crate) async fn world() -> World {
    world_with(limits()).await
}

pub(crate) async fn world_with(limits: afu9_broker::config::Limits) -> World {
    world_of(limits, afu9_broker::config::DEFAULT_KEY_AGE).await
}

/// A world that remembers keys for this long.
pub(crate) async fn world_of(limits: afu9_broker::config::Limits, key_age: Duration) -> World {
    let nats = fixture::nats().expect("a nats-server");
    let kind = |name: &str| WorkerKind::new(name).expect("valid");
    let config = afu9_broker::Config {
        url: nats.url.clone(),
        auth: Auth::None,
        ca_file: None,
        name: "gateway-test".to_owned(),
        replicas: Replicas::One,
        durability: Durability::Fast,
        partitions: PartitionCount::new(2).expect("in range"),
        kinds: vec![kind("github"), kind("test")],
        ack_wait: afu9_broker::config::DEFAULT_ACK_WAIT,
        key_age,
        limits,
    };
    let mut broker = Broker::connect(config).await.expect("connects");
    broker.ensure_topology().await.expect("creates the streams");
    World { nats, broker }
}

/// A configuration with a secret, the test kind, and a token `<scope>-token` for each scope.
pub(crate) fn config() -> Config {
    let mut config = Config::new(([127, 0, 0, 1], 0).into(), "1.2.3");
    config.webhook_secrets = vec!["an older secret".into(), SECRET.into()];
    config.allow_test_kind = true;
    config.tokens = [
        Scope::Read,
        Scope::Trigger,
        Scope::Operate,
        Scope::Approve,
        Scope::ApproveNamed("approve:ship".to_owned()),
        Scope::Admin,
    ]
    .into_iter()
    .map(|scope| {
        let name = scope.as_str().replace(':', ".");
        let secret = format!("{name}-token");
        TokenConfig::new(name, vec![scope], &secret.into())
    })
    .collect();
    config
}

pub(crate) fn with_routes(toml: &str) -> Config {
    let mut config = config();
    config.routes = routes_from_toml(toml).expect("valid routes");
    config
}

/// A gateway at work.
pub(crate) struct Running {
    base: String,
    client: reqwest::Client,
    pub(crate) metrics: Arc<Metrics>,
    stop: CancellationToken,
    task: JoinSet<Result<(), Error>>,
}

impl World {
    pub(crate) async fn gateway(&self, config: Config) -> Running {
        self.gateway_with(config, None).await
    }

    pub(crate) async fn gateway_with(&self, config: Config, store: Option<Store>) -> Running {
        let listener = TcpListener::bind(config.listen).await.expect("binds");
        let base = format!("http://{}", listener.local_addr().expect("bound"));
        let gateway = Gateway::new(config, self.broker.clone(), store);
        let metrics = gateway.metrics();
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(gateway.run(listener, stop.clone()));
        let client = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client");
        Running {
            base,
            client,
            metrics,
            stop,
            task,
        }
    }

    /// Every input in the log so far, in order within each partition.
    pub(crate) async fn inputs(&self) -> Vec<Input> {
        let (writer, task) = LogWriter::start(self.broker.clone());
        let mut inputs = Vec::new();
        for partition in self.broker.partitions().all() {
            // Reading waits for what is not there yet: a mark says where to stop.
            let mark = Input {
                execution: ExecutionId::new(),
                kind: InputKind::Cancel(Cancel {
                    by: "mark".to_owned(),
                    reason: None,
                }),
            };
            writer
                .submit_to(partition, vec![mark.clone()])
                .await
                .expect("stored");
            let mut reader = LogReader::new(self.broker.clone(), partition, 0);
            let mut seen = false;
            while !seen {
                let batch = timeout(BOUND, reader.next_batch(1000))
                    .await
                    .expect("in time");
                for message in batch.expect("readable") {
                    for input in message.envelope.expect("decodable").inputs {
                        seen |= input == mark;
                        inputs.push(input);
                    }
                }
            }
        }
        drop(writer);
        task.finished().await;
        inputs.retain(|input| !matches!(&input.kind, InputKind::Cancel(c) if c.by == "mark"));
        inputs
    }

    /// Waits until each of `wanted` has a start in the log.
    pub(crate) async fn started(&self, wanted: &[ExecutionId]) {
        for partition in self.broker.partitions().all() {
            let mut missing: HashSet<ExecutionId> = wanted
                .iter()
                .copied()
                .filter(|id| self.broker.partitions().of(*id) == partition)
                .collect();
            let mut reader = LogReader::new(self.broker.clone(), partition, 0);
            while !missing.is_empty() {
                let batch = timeout(BOUND, reader.next_batch(1000))
                    .await
                    .expect("in time");
                for message in batch.expect("readable") {
                    for input in message.envelope.expect("decodable").inputs {
                        missing.remove(&input.execution);
                    }
                }
            }
        }
    }

    /// Every start in the log so far.
    pub(crate) async fn starts(&self) -> Vec<(ExecutionId, Start)> {
        let starts = self
            .inputs()
            .await
            .into_iter()
            .filter_map(|input| match input.kind {
                InputKind::Start(start) => Some((input.execution, *start)),
                _ => None,
            });
        starts.collect()
    }
}

impl Running {
    pub(crate) fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.base))
            .timeout(BOUND)
    }

    /// With the token that may do everything.
    pub(crate) fn admin(&self, method: Method, path: &str) -> RequestBuilder {
        self.call(method, path).bearer_auth("admin-token")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(self.admin(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        answer(self.admin(Method::POST, path).json(body)).await
    }

    pub(crate) async fn put(&self, name: &str, definition: &str) -> Answer {
        let path = format!("/api/workflows/{name}");
        answer(self.admin(Method::PUT, &path).body(definition.to_owned())).await
    }

    /// A webhook as GitHub sends it.
    pub(crate) fn webhook(&self, id: &str, event: &str, body: &[u8]) -> RequestBuilder {
        self.call(Method::POST, "/api/webhooks/github")
            .header("X-GitHub-Event", event)
            .header("X-GitHub-Delivery", id)
            .header("X-Hub-Signature-256", sign(SECRET, body))
            .header("Content-Type", "application/json")
            .body(body.to_vec())
    }

    /// Stops it as an operator would.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        let ended = timeout(BOUND, self.task.join_next())
            .await
            .expect("ends in time");
        ended
            .expect("was running")
            .expect("no panic")
            .expect("no error");
    }

    /// Ends it as a crash would: nothing under way is finished.
    pub(crate) async fn kill(mut self) {
        self.task.shutdown().await;
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Checks that it is a problem of this kind, in form too.
    pub(crate) fn expect_problem(&self, status: u16, code: &str, blocked_by: &str) {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        assert_eq!(self.body["status"], json!(status), "{self:?}");
        assert_eq!(self.body["code"], json!(code), "{self:?}");
        assert_eq!(self.body["blockedBy"], json!(blocked_by), "{self:?}");
        assert_eq!(
            self.body["requestId"].as_str(),
            self.header("x-request-id"),
            "{self:?}"
        );
        for member in ["type", "title", "detail", "nextAction"] {
            assert!(
                self.body[member]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{self:?}"
            );
        }
        let shall_wait = status == 503;
        assert_eq!(self.header("retry-after").is_some(), shall_wait, "{self:?}");
    }
}

pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("answered");
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.expect("read");
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    Answer {
        status,
        headers,
        text,
        body,
    }
}

pub(crate) fn sign(secret: &str, body: &[u8]) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    format!(
        "sha256={}",
        hex::encode(mac.chain_update(body).finalize().into_bytes())
    )
}

/// Waits until `level` holds, looking again and again, within the bound.
pub(crate) async fn eventually(what: &str, mut level: impl AsyncFnMut() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    let reached = async {
        while !level().await {
            looks.tick().await;
        }
    };
    assert!(timeout(BOUND, reached).await.is_ok(), "not in time: {what}");
}

/// Stands in for the owners of all partitions: knows what it is told.
pub(crate) struct Owner {
    pub(crate) executions: Arc<Mutex<HashMap<ExecutionId, ExecutionView>>>,
    _tasks: JoinSet<()>,
}

impl World {
    /// Owners for all partitions.
    pub(crate) async fn owner(&self) -> Owner {
        let executions: Arc<Mutex<HashMap<ExecutionId, ExecutionView>>> = Arc::default();
        let mut tasks = JoinSet::new();
        let partitions = self.broker.partitions();
        let instance = InstanceId::new();
        for partition in partitions.all() {
            let mut questions = self.broker.questions(partition).await.expect("subscribes");
            let known = Arc::clone(&executions);
            tasks.spawn(async move {
                while let Some(question) = questions.next().await {
                    let reply = {
                        let known = known.lock().expect("not poisoned");
                        match &question.query {
                            Query::Show { execution } => match known.get(execution) {
                                Some(view) => QueryReply::Execution(Box::new(view.clone())),
                                None => QueryReply::Unknown,
                            },
                            Query::Explain { .. } => QueryReply::Unknown,
                            Query::Holds => QueryReply::Holds(Vec::new()),
                            // All of them in one process.
                            Query::Status => QueryReply::Status(OrchestratorStatus {
                                full: Vec::new(),
                                instance,
                                counters: [("orphans".to_owned(), 2)].into(),
                            }),
                            Query::List { limit, filter } => {
                                let mine = known
                                    .values()
                                    .filter(|view| is_related(view, filter))
                                    .map(|view| view.summary.clone())
                                    .filter(|summary| partitions.of(summary.id) == partition);
                                listed(mine.collect(), *limit as usize, filter)
                            }
                        }
                    };
                    questions.answer(question, &reply).await.expect("answers");
                }
            });
        }
        self.broker.flush().await.expect("flushes");
        Owner {
            executions,
            _tasks: tasks,
        }
    }
}

fn is_related(view: &ExecutionView, filter: &ListFilter) -> bool {
    let parent = view.parent.as_ref().map(|parent| parent.execution);
    (filter.key.is_none() || filter.key == view.key)
        && (filter.parent.is_none() || filter.parent == parent)
        && (filter.rerun_of.is_none() || filter.rerun_of == view.rerun_of)
}

/// A page of `executions`, as an owner gives it.
pub(crate) fn listed(
    mut executions: Vec<ExecutionSummary>,
    limit: usize,
    filter: &ListFilter,
) -> QueryReply {
    let live = executions.len() as u64;
    let place = |summary: &ExecutionSummary| ListCursor {
        started_at: summary.started_at,
        id: summary.id,
    };
    let is = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|text| text == is);
    executions.retain(|summary| {
        (filter.statuses.is_empty() || filter.statuses.contains(&summary.status))
            && is(&filter.workflow, &summary.workflow)
            && is(&filter.triggered_by, &summary.triggered_by)
            && filter.before.is_none_or(|before| place(summary) < before)
    });
    executions.sort_by_key(|summary| std::cmp::Reverse(place(summary)));
    let more = executions.len() > limit;
    executions.truncate(limit);
    QueryReply::Executions {
        executions,
        live,
        more,
    }
}

impl Owner {
    pub(crate) fn knows(&self, view: ExecutionView) {
        self.executions
            .lock()
            .expect("not poisoned")
            .insert(view.summary.id, view);
    }
}
