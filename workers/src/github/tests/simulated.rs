//! The tools against a simulated GitHub: the world of these tests, which are sorted by what they look at.

mod commits;
mod effects;
mod pull_requests;
mod refusals;

use afu9_loadtest::simulated_github::{
    Config as SimulationConfig, EffectKind, Fault, FaultKind, FaultMatch, IssueState, Moment,
    RepositoryState, Running, serve,
};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::github_with;
use crate::github::Github;
use crate::github::address::Repository;
use crate::github::client::Request;
use crate::{Call, ToolError};

const TOKEN: &str = "sim-token";
const REPO: &str = "octo/factory";

/// A branch with a commit that `main` does not have, and a character that needs encoding.
const WORK: &str = "afu9/issue-1#work";

struct World {
    simulation: Running,
    github: Github,
}

impl World {
    async fn new() -> Self {
        Self::with(SimulationConfig::demo(), |base_url| {
            github_with(base_url, TOKEN)
        })
        .await
    }

    async fn with(config: SimulationConfig, connect: impl FnOnce(&str) -> Github) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let simulation = serve(listener, config, CancellationToken::new())
            .await
            .unwrap();
        let github = connect(&simulation.base_url);
        let world = Self { simulation, github };
        world.push(WORK, "prepared.txt", "by somebody else");
        world
    }

    async fn run(&self, tool: &str, call: Call, params: Value) -> Result<Value, ToolError> {
        self.github.toolbox().run(tool, call, params).await
    }

    /// The tool on several workers at once, none of which writes before all have looked.
    async fn run_at_once(
        &self,
        tool: &str,
        calls: Vec<Call>,
        params: &Value,
    ) -> Vec<Result<Value, ToolError>> {
        for method in ["POST", "PATCH"] {
            let matching = FaultMatch {
                method: Some(method.to_owned()),
                ..FaultMatch::default()
            };
            let late = FaultKind::Latency {
                ms: 30,
                jitter_ms: 0,
            };
            self.simulation
                .handle
                .add_fault(Fault::always(matching, late))
                .unwrap();
        }
        let runs = calls.into_iter().map(|call| async move {
            let worker = github_with(&self.simulation.base_url, TOKEN);
            worker.toolbox().run(tool, call, params.clone()).await
        });
        let results = join_all(runs).await;
        self.simulation.handle.clear_faults();
        results
    }

    /// A request that no tool makes.
    async fn send(&self, request: Request) {
        let repository = Repository::new("octo", "factory").unwrap();
        self.github
            .client
            .send(&repository, request)
            .await
            .unwrap()
            .accepted()
            .unwrap();
    }

    fn fault(&self, fault: Fault) {
        self.simulation.handle.add_fault(fault).unwrap();
    }

    fn push(&self, branch: &str, path: &str, content: &str) -> String {
        self.simulation
            .handle
            .push(REPO, branch, &[(path, content)], "by somebody else")
            .unwrap()
    }

    fn state(&self) -> RepositoryState {
        self.simulation.handle.state(REPO).unwrap()
    }

    fn issue(&self) -> IssueState {
        self.state()
            .issues
            .into_iter()
            .find(|issue| issue.number == 1)
            .unwrap()
    }

    /// How often something really changed.
    fn count(&self, kind: EffectKind) -> usize {
        let effects = self.simulation.handle.effects();
        effects
            .iter()
            .filter(|effect| effect.kind == kind && !effect.repeated)
            .count()
    }
}

/// `params` for the repository of the simulation.
fn here(mut params: Value) -> Value {
    params["owner"] = json!("octo");
    params["repo"] = json!("factory");
    params
}

/// GitHub's answer to whoever came second.
fn too_late(message: &str, moment: Moment) -> FaultKind {
    let body = Some(json!({ "message": message }).to_string());
    FaultKind::Status {
        status: 422,
        body,
        moment,
    }
}
