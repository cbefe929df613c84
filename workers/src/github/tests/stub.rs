//! An HTTP server that answers by a function and remembers what it was asked: for the answers that
//! a simulation of GitHub has no reason to give.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, Uri};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A request as the server saw it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// The running server; it ends with this value.
pub(super) struct Stub {
    pub(super) base_url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    _server: JoinSet<()>,
}

impl Stub {
    pub(super) async fn serve<A: IntoResponse>(
        answer: impl Fn(&Seen) -> A + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(answer);
        let log = Arc::clone(&seen);
        let handler = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let body = String::from_utf8_lossy(&body).into_owned();
            let request = Seen {
                method,
                uri,
                headers,
                body,
            };
            let response: Response = answer(&request).into_response();
            log.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(request);
            async move { response }
        };
        let app = Router::new().fallback(handler);
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            base_url,
            seen,
            _server: server,
        }
    }

    /// Every request so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many requests had this path.
    pub(super) fn count(&self, path: &str) -> usize {
        self.seen()
            .iter()
            .filter(|seen| seen.uri.path() == path)
            .count()
    }
}
