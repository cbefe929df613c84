//! A gateway in this process, and the binary's operator commands that speak to it.

use std::time::Duration;

use afu9_broker::Broker;
use afu9_gateway::{Config, Gateway, Scope, TokenConfig};
use afu9_servers::{RunDirectory, target_dir};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::command::{Ended, afu9};
use crate::world::World;

const TOKEN: &str = "core-token";

/// Far longer than anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a wait sleeps before it asks again.
const POLL: Duration = Duration::from_millis(50);

/// A gateway without a database, and its operator, whose name is `ada`.
pub(crate) struct Desk {
    base: String,
    environment: Vec<(String, String)>,
    directory: RunDirectory,
    stop: CancellationToken,
    task: JoinSet<Result<(), afu9_gateway::Error>>,
}

impl World {
    pub(crate) async fn desk(&self) -> Result<Desk> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let broker: Broker = self.connect().await?;
        let mut config = Config::new(address, "0.0.0");
        config.allow_test_kind = true;
        config.tokens = vec![TokenConfig::new("ada", vec![Scope::Admin], &TOKEN.into())];
        let stop = CancellationToken::new();
        let gateway = Gateway::new(config, broker, None);
        let mut task = JoinSet::new();
        task.spawn(gateway.run(listener, stop.clone()));
        let environment = [
            ("AFU9_API__URL", format!("http://{address}")),
            ("AFU9_API__TOKEN", TOKEN.to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value));
        Ok(Desk {
            base: format!("http://{address}"),
            environment: environment.to_vec(),
            directory: RunDirectory::temporary(&target_dir().join("afu9/core"), "desk")?,
            stop,
            task,
        })
    }
}

impl Desk {
    /// A submission over HTTP.
    pub(crate) async fn trigger(
        &self,
        http: &reqwest::Client,
        workflow: &str,
        body: &Value,
    ) -> Result<reqwest::Response> {
        let url = format!("{}/api/workflows/{workflow}/trigger", self.base);
        Ok(http.post(url).bearer_auth(TOKEN).json(body).send().await?)
    }

    /// Runs `afu9 <arguments>`.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Result<Ended> {
        afu9(&self.environment, arguments).await
    }

    /// Runs `afu9 <arguments>`, which must end with this exit code; what it printed for people.
    pub(crate) async fn text(&self, code: i32, arguments: &[&str]) -> Result<String> {
        let ended = self.run(arguments).await?;
        ensure!(ended.code == Some(code), "{arguments:?}: {ended:?}");
        Ok(format!("{}{}", ended.stdout, ended.stderr))
    }

    /// Runs `afu9 --output json <arguments>`, which must end well.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let ended = self
            .run(&[&["--output", "json"], arguments].concat())
            .await?;
        ensure!(ended.code == Some(0), "{arguments:?}: {ended:?}");
        ended.json()
    }

    /// Waits until what `afu9 --output json <arguments>` prints is as `so` says.
    pub(crate) async fn json_when(
        &self,
        arguments: &[&str],
        so: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.json(arguments).await?;
            if so(&found) {
                return Ok(found);
            }
            ensure!(Instant::now() < deadline, "{arguments:?}: {found}");
            sleep(POLL).await;
        }
    }

    /// Stores a definition.
    pub(crate) async fn apply(&self, source: &str) -> Result<()> {
        let file = self.directory.path().join("definition.yaml");
        std::fs::write(&file, source)?;
        let file = file.to_str().context("a path")?;
        self.text(0, &["workflows", "apply", file]).await?;
        Ok(())
    }

    /// Starts a stored workflow.
    pub(crate) async fn start(&self, name: &str) -> Result<String> {
        let started = self.json(&["workflows", "start", name]).await?;
        let id = started["executionId"].as_str().context("an id")?;
        Ok(id.to_owned())
    }

    pub(crate) async fn close(mut self) -> Result<()> {
        self.stop.cancel();
        let ended = self.task.join_next().await;
        Ok(ended.context("a gateway")???)
    }
}
