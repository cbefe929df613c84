//! The simulation by HTTP, as a worker sees it.

mod access;
mod faults;
mod git;
mod issues;
mod pulls;
mod steering;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Config, EffectKind, Handle, Running, serve};

const REPO: &str = "/repos/octo/factory";

/// A running simulation with a client that holds a token.
struct Github {
    running: Running,
    client: reqwest::Client,
    token: String,
    _shutdown: DropGuard,
}

struct Answer {
    status: StatusCode,
    headers: reqwest::header::HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("a JSON body")
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(|value| value.to_str().expect("text"))
            .unwrap_or_default()
    }

    /// The status and the sentence that says why.
    fn why(&self) -> (u16, String) {
        let body = self.json();
        let own = &body["errors"][0]["message"];
        let message = own
            .as_str()
            .or(body["message"].as_str())
            .unwrap_or_default();
        (self.status.as_u16(), message.to_owned())
    }
}

impl Github {
    async fn start(config: Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let shutdown = CancellationToken::new();
        let running = serve(listener, config, shutdown.clone())
            .await
            .expect("a good config");
        let client = reqwest::Client::builder()
            .no_proxy()
            .user_agent("test")
            .build();
        Self {
            running,
            client: client.expect("a client"),
            token: "sim-token".to_owned(),
            _shutdown: shutdown.drop_guard(),
        }
    }

    async fn demo() -> Self {
        Self::start(Config::demo()).await
    }

    fn handle(&self) -> &Handle {
        &self.running.handle
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.running.base_url);
        self.client.request(method, url).bearer_auth(&self.token)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        Answer {
            status,
            headers,
            text: response.text().await.expect("a body"),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    async fn with_body(&self, method: Method, path: &str, body: Value) -> Answer {
        self.send(self.request(method, path).json(&body)).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.with_body(Method::POST, path, body).await
    }

    /// The commit at the tip of a branch.
    async fn tip(&self, branch: &str) -> String {
        let answer = self
            .get(&format!("{REPO}/git/ref/heads/{branch}"))
            .await
            .json();
        answer["object"]["sha"].as_str().expect("a sha").to_owned()
    }

    /// Makes a commit with the git data routes and returns its id.
    async fn commit(&self, parent: &str, path: &str, content: &str) -> String {
        let base = self
            .get(&format!("{REPO}/git/commits/{parent}"))
            .await
            .json();
        let entry = json!({"path": path, "mode": "100644", "type": "blob", "content": content});
        let body = json!({"base_tree": base["tree"]["sha"], "tree": [entry]});
        let tree = self.post(&format!("{REPO}/git/trees"), body).await.json();
        let person = json!({"name": "w", "email": "w@x", "date": "2026-01-01T00:00:00Z"});
        let body = json!({
            "message": format!("change {path}"),
            "tree": tree["sha"],
            "parents": [parent],
            "author": person,
        });
        let answer = self.post(&format!("{REPO}/git/commits"), body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json()["sha"].as_str().expect("a sha").to_owned()
    }

    /// Creates a branch with one commit on top of `main`.
    async fn branch(&self, name: &str, path: &str, content: &str) -> String {
        let sha = self.commit(&self.tip("main").await, path, content).await;
        let body = json!({"ref": format!("refs/heads/{name}"), "sha": sha});
        let answer = self.post(&format!("{REPO}/git/refs"), body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        sha
    }

    async fn open_pull(&self, head: &str) -> Answer {
        let body = json!({"title": "Fix", "head": head, "base": "main", "body": "<!-- key-1 -->"});
        self.post(&format!("{REPO}/pulls"), body).await
    }

    fn kinds(&self) -> Vec<EffectKind> {
        self.handle()
            .effects()
            .into_iter()
            .map(|effect| effect.kind)
            .collect()
    }
}
