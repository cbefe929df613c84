//! Building roles from settings. Whatever can be wrong is wrong here, before anything runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use afu9_broker::topology::Report;
use afu9_broker::{Broker, RequestError};
use afu9_gateway::{Gateway, Scope, TokenConfig};
use afu9_history::projector::{self, Retention};
use afu9_history::{LetterProjector, Projector, Store};
use afu9_orchestrator::Orchestrator;
use afu9_schemas::{WorkerId, WorkerKind};
use afu9_workers::github::Github;
use afu9_workers::{Worker, runtime, test};
use anyhow::{Context, anyhow, bail};
use futures::future::BoxFuture;
use secrecy::SecretString;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Role;
use crate::output::{Output, Tone};
use crate::settings::{DatabaseSettings, GithubAuth, GithubSettings, Settings, worker_kind};

/// A role that was built: give it the token by which it is told to end.
pub(crate) type Built =
    Box<dyn FnOnce(CancellationToken) -> BoxFuture<'static, anyhow::Result<()>>>;

/// Pause before a worker looks again whether JetStream is prepared: at first, and at most.
const TOPOLOGY_PAUSE: Duration = Duration::from_millis(500);
const MAX_TOPOLOGY_PAUSE: Duration = Duration::from_secs(10);

/// Connections that may wait to be taken, if the system allows as many. One that finds no room is dropped
/// without a word, and its client tries again after a second: a fleet that connects at once has to fit.
const BACKLOG: u32 = 4096;

/// Builds `roles`.
pub(crate) async fn build(
    roles: &[Role],
    settings: Settings,
    kinds: Option<Vec<String>>,
    output: Output,
) -> anyhow::Result<Vec<(&'static str, Built)>> {
    let wants = |role| roles.contains(&role) || roles.contains(&Role::All);
    let dev = roles.contains(&Role::All);
    let mut built: Vec<(&'static str, Built)> = Vec::new();
    if wants(Role::Orchestrator) {
        built.push(("orchestrator", orchestrator(&settings).await?));
    }
    if wants(Role::Worker) {
        let gate = runtime::Gate::default();
        for kind in worker_kinds(&settings, kinds.as_deref(), dev)? {
            built.push(("worker", worker(&settings, kind, gate.clone()).await?));
        }
    }
    if wants(Role::Projector) {
        match &settings.database {
            Some(database) => built.push(("projector", projector(&settings, database).await?)),
            None if dev => tracing::info!("no database: history is what the stream still holds"),
            None => bail!("a projector needs a database: set AFU9_DATABASE__URL"),
        }
    }
    if wants(Role::Gateway) {
        built.push(("gateway", gateway(settings, dev, output).await?));
    }
    Ok(built)
}

async fn connect(settings: &Settings, name: &str) -> anyhow::Result<Broker> {
    let mut broker = Broker::connect(settings.broker(&format!("afu9-{name}"))).await?;
    broker
        .ensure_topology()
        .await
        .context("cannot prepare JetStream")?;
    Ok(broker)
}

async fn orchestrator(settings: &Settings) -> anyhow::Result<Built> {
    let broker = connect(settings, "orchestrator").await?;
    let config = afu9_orchestrator::Config {
        checkpoint_interval: settings.checkpoint_interval,
        ..afu9_orchestrator::Config::default()
    };
    tracing::info!(
        instance = %config.instance,
        partitions = broker.partitions().get(),
        checkpoint_ms = config.checkpoint_interval.as_millis(),
        "orchestrator built"
    );
    let orchestrator = Orchestrator::new(broker, config);
    Ok(Box::new(|shutdown| {
        Box::pin(async { Ok(orchestrator.run(shutdown).await?) })
    }))
}

fn worker_kinds(
    settings: &Settings,
    kinds: Option<&[String]>,
    dev: bool,
) -> anyhow::Result<Vec<WorkerKind>> {
    if let Some(kinds) = kinds {
        return kinds
            .iter()
            .map(|kind| {
                worker_kind(kind, settings.worker.allow_test_kind).map_err(|why| anyhow!(why))
            })
            .collect();
    }
    if !settings.worker.kinds.is_empty() {
        return Ok(settings.worker.kinds.clone());
    }
    let mut kinds = Vec::new();
    if settings.github.is_some() {
        kinds.push(WorkerKind::new("github")?);
    }
    if settings.worker.allow_test_kind {
        kinds.push(WorkerKind::new("test")?);
    }
    if kinds.is_empty() && !dev {
        bail!("nothing to work on: give --kinds, or configure a kind (AFU9_GITHUB__TOKEN)");
    }
    if kinds.is_empty() {
        tracing::warn!("no worker kind is configured: set AFU9_GITHUB__TOKEN");
    }
    Ok(kinds)
}

async fn worker(
    settings: &Settings,
    kind: WorkerKind,
    gate: runtime::Gate,
) -> anyhow::Result<Built> {
    let mut broker = Broker::connect(settings.broker(&format!("afu9-worker-{kind}"))).await?;
    let ready = broker.ensure_topology().await;
    let host = host();
    // Unique among live workers, and still readable: kind, host, and a few random letters.
    let short: String = host
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(24)
        .collect();
    let random = Uuid::new_v4().simple().to_string();
    let worker = WorkerId::new(format!("{kind}-{short}-{}", &random[..8]))?;
    let config = runtime::Config {
        worker,
        host,
        slots: settings.worker.slots,
        drain: settings.worker.drain.unwrap_or(runtime::DEFAULT_DRAIN),
        gate,
    };
    let make: Box<dyn FnOnce(Broker) -> Worker + Send> = match kind.as_str() {
        "github" => {
            let Some(settings) = &settings.github else {
                bail!(
                    "a github worker needs a credential: set AFU9_GITHUB__TOKEN, or \
                         AFU9_GITHUB__APP_ID and AFU9_GITHUB__PRIVATE_KEY"
                );
            };
            let github = github(settings)?;
            let toolbox = github.toolbox();
            Box::new(move |broker| {
                Worker::new(broker, toolbox, config).with_checks(Arc::new(move || {
                    let github = github.clone();
                    Box::pin(async move { github.check().await })
                }))
            })
        }
        "test" => Box::new(move |broker| Worker::new(broker, test::toolbox(), config)),
        other => bail!("there is no worker of kind `{other}` in this build"),
    };
    Ok(Box::new(move |shutdown| {
        Box::pin(async move {
            tokio::select! {
                () = topology(&mut broker, ready) => {}
                () = shutdown.cancelled() => return Ok(()),
            }
            Ok(make(broker).run(shutdown).await?)
        })
    }))
}

/// Waits until JetStream is as a worker needs it. It may not be allowed to create a work queue that was in
/// the memory of a server that was restarted; an orchestrator creates it again.
async fn topology(broker: &mut Broker, first: Result<Report, RequestError>) {
    let mut found = first;
    let mut pause = TOPOLOGY_PAUSE;
    while let Err(error) = found {
        let error = afu9_broker::error::chain(&error);
        tracing::warn!(error, "JetStream is not prepared yet, waiting for it");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_TOPOLOGY_PAUSE);
        found = broker.ensure_topology().await;
    }
}

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .unwrap_or_else(|_| "unknown".to_owned())
}

async fn projector(settings: &Settings, database: &DatabaseSettings) -> anyhow::Result<Built> {
    let broker = connect(settings, "projector").await?;
    let store = store(database)?;
    let letters = LetterProjector::new(store.clone(), broker.clone());
    let keep = settings.keep_history;
    let retention = keep.map(|keep| Retention::new(store.clone(), keep));
    let source = projector::StreamSource::new(broker);
    let projector = Projector::new(projector::Config::default(), store, source);
    Ok(Box::new(|shutdown| {
        Box::pin(async move {
            // Where history ends, dead letters do too; what of them is under way is written again.
            let stop = shutdown.child_token();
            let history = async {
                let ended = projector.run(shutdown).await;
                stop.cancel();
                ended
            };
            let forgetting = async {
                if let Some(retention) = retention {
                    retention.run(stop.clone()).await;
                }
            };
            let (ended, (), ()) = tokio::join!(history, letters.run(stop.clone()), forgetting);
            Ok(ended?)
        })
    }))
}

async fn gateway(settings: Settings, dev: bool, output: Output) -> anyhow::Result<Built> {
    let broker = connect(&settings, "gateway").await?;
    let store = settings.database.as_ref().map(store).transpose()?;
    let listen = settings.gateway.listen;
    let mut config = afu9_gateway::Config::new(listen, env!("CARGO_PKG_VERSION"));
    config.allow_test_kind = settings.worker.allow_test_kind;
    if let Some(alarm) = settings.gateway.dead_letter_alarm {
        config.dead_letter_alarm = alarm;
    }
    config.webhook_secrets = settings.gateway.webhook_secrets;
    config.tokens = settings
        .gateway
        .tokens
        .iter()
        .map(|text| token(text))
        .collect::<anyhow::Result<_>>()?;
    if let Some(text) = &settings.gateway.routes {
        config.routes = afu9_gateway::routes_from_toml(text).map_err(|mistakes| {
            let lines: Vec<String> = mistakes.iter().map(|m| format!("\n  - {m}")).collect();
            anyhow!(
                "the routes file has {} mistake(s){}",
                mistakes.len(),
                lines.concat()
            )
        })?;
    }
    if dev && config.tokens.is_empty() {
        let token = format!("afu9_{}", Uuid::new_v4().simple());
        output.text(format!(
            "API token for this run: {}",
            output.paint(Tone::Good, &token)
        ));
        let token = SecretString::from(token);
        config
            .tokens
            .push(TokenConfig::new("dev", vec![Scope::Admin], &token));
    }
    let mistakes = config.mistakes();
    if !mistakes.is_empty() {
        bail!(
            "the gateway's configuration has mistakes: {}",
            mistakes.join("; ")
        );
    }
    for gap in config.gaps() {
        tracing::warn!(gap, "gateway configuration has a gap");
    }
    let listener = listen_on(listen).with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener
        .local_addr()
        .context("the listener has no address")?;
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "the gateway is reachable from other machines");
    }
    tracing::info!(%address, database = store.is_some(), "gateway built");
    let gateway = Gateway::new(config, broker, store);
    Ok(Box::new(|shutdown| {
        Box::pin(async { Ok(gateway.run(listener, shutdown).await?) })
    }))
}

/// `name:scope+scope:sha256 of the token in hex`.
fn token(text: &str) -> anyhow::Result<TokenConfig> {
    let shape = "gateway.tokens: an entry must be `name:scope+scope:sha256-in-hex`";
    // Scopes may hold a colon, names and hashes may not.
    let parts = text
        .split_once(':')
        .and_then(|(name, rest)| Some((name, rest.rsplit_once(':')?)));
    let Some((name, (scopes, hash))) = parts else {
        bail!(shape);
    };
    let scopes = scopes
        .split('+')
        .map(|scope| scope.parse::<Scope>())
        .collect::<Result<_, _>>()
        .with_context(|| format!("gateway.tokens: token `{name}`"))?;
    let mut sha256 = [0; 32];
    hex::decode_to_slice(hash, &mut sha256)
        .map_err(|_| anyhow!("gateway.tokens: the hash of token `{name}` is not 64 hex digits"))?;
    Ok(TokenConfig {
        name: name.to_owned(),
        scopes,
        sha256,
    })
}

/// The database, which is connected to when it is first needed.
pub(crate) fn store(settings: &DatabaseSettings) -> anyhow::Result<Store> {
    let mut config = afu9_history::Config::new(settings.url.clone());
    if let Some(max) = settings.max_connections {
        config.max_connections = max;
    }
    Ok(Store::connect(&config)?)
}

/// The connection to GitHub; no request is made yet.
pub(crate) fn github(settings: &GithubSettings) -> anyhow::Result<Github> {
    use afu9_workers::github::{Auth, Config};
    let auth = match &settings.auth {
        GithubAuth::Token(token) => Auth::Token(token.clone()),
        GithubAuth::App {
            app_id,
            private_key,
            installation_id,
        } => Auth::App {
            app_id: *app_id,
            private_key_pem: private_key.clone(),
            installation_id: *installation_id,
        },
    };
    Ok(Github::new(&Config {
        base_url: settings.base_url.clone(),
        auth,
    })?)
}

fn listen_on(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // As every server does, so that it can be started again at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_may_hold_named_scopes() {
        let hash = "ab".repeat(32);
        let read = |text: &str| token(&format!("{text}:{hash}")).map(|token| token.scopes);
        let named = Scope::ApproveNamed("approve:deploy".to_owned());
        let scopes = read("ann:read+approve:deploy+approve").expect("valid");
        assert_eq!(scopes, [Scope::Read, named, Scope::Approve]);
        for bad in [
            "ann:deploy",
            "ann:approve:",
            "ann:approve:a:b",
            "ann",
            "ann:",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(token("ann:read:abc").is_err(), "no hash");
    }
}
