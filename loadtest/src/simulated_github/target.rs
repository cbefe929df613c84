//! What every route about a repository gets: the repository, the caller, the parameters, the body.
//!
//! Invariant: a route reaches the repository only through [`Target::reading`] or
//! [`Target::writing`], which check the permission, and so before the body is judged.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Bytes;
use axum::extract::{FromRequest, Path, Query, Request};
use axum::http::{HeaderMap, Method, Uri, header};
use chrono::{SecondsFormat, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::auth::{Access, Area, Caller};
use super::effect::{self, Effect, EffectKind};
use super::failure::Failure;
use super::repository::Repository;
use super::simulation::{Simulation, locked};

/// What the front door found out about a request.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) request_id: String,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body_digest: String,
    /// A fault will take the answer.
    pub(crate) response_lost: bool,
    pub(crate) caller: Caller,
}

impl Context {
    /// Writes to the log of effects; called under the lock of the repository.
    pub(crate) fn record(&self, simulation: &Simulation, repo: &str, happening: Happening<'_>) {
        let effect = Effect {
            seq: 0,
            at: Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true),
            method: self.method.to_string(),
            path: self.path.clone(),
            kind: happening.kind,
            repo: repo.to_owned(),
            subject: happening.subject,
            request_id: self.request_id.clone(),
            token: self.caller.name(),
            response_lost: self.response_lost,
            repeated: !happening.is_new,
            body_digest: self.body_digest.clone(),
            marker: effect::marker(happening.text),
        };
        locked(&simulation.effects).record(effect);
    }
}

/// Something that a route did.
#[derive(Debug)]
pub(crate) struct Happening<'a> {
    pub(crate) kind: EffectKind,
    pub(crate) subject: String,
    /// Whether anything changed.
    pub(crate) is_new: bool,
    /// Where a marker may be.
    pub(crate) text: &'a str,
}

impl Happening<'_> {
    /// A change without text.
    pub(crate) fn new(kind: EffectKind, subject: impl ToString) -> Self {
        Self {
            kind,
            subject: subject.to_string(),
            is_new: true,
            text: "",
        }
    }
}

/// One request about one repository.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) simulation: Arc<Simulation>,
    pub(crate) context: Arc<Context>,
    pub(crate) uri: Uri,
    repository: Arc<Mutex<Repository>>,
    parameters: HashMap<String, String>,
    query: HashMap<String, String>,
    headers: HeaderMap,
    body: Bytes,
}

impl FromRequest<Arc<Simulation>> for Target {
    type Rejection = Failure;

    async fn from_request(
        request: Request,
        simulation: &Arc<Simulation>,
    ) -> Result<Self, Self::Rejection> {
        use axum::RequestExt as _;
        let mut request = request;
        let Path(parameters): Path<HashMap<String, String>> = request
            .extract_parts()
            .await
            .map_err(|_| Failure::not_found())?;
        let context = request
            .extensions()
            .get::<Arc<Context>>()
            .cloned()
            .ok_or_else(Failure::not_found)?;
        let uri = request.uri().clone();
        let Query(query) = Query::try_from_uri(&uri)
            .map_err(|_| Failure::bad_request("Problems parsing the query"))?;
        let headers = request.headers().clone();
        let body = Bytes::from_request(request, &())
            .await
            .map_err(|_| Failure::bad_request("Problems reading the body"))?;
        let part = |name: &str| parameters.get(name).map(String::as_str).unwrap_or_default();
        let repository = simulation.repository(&format!("{}/{}", part("owner"), part("repo")))?;
        let simulation = Arc::clone(simulation);
        Ok(Self {
            simulation,
            context,
            uri,
            repository,
            parameters,
            query,
            headers,
            body,
        })
    }
}

impl Target {
    /// # Errors
    /// 404 or 403.
    pub(crate) fn reading(&self, area: Area) -> Result<MutexGuard<'_, Repository>, Failure> {
        self.authorized(area, Access::Read)
    }

    /// # Errors
    /// 404 or 403.
    pub(crate) fn writing(&self, area: Area) -> Result<MutexGuard<'_, Repository>, Failure> {
        self.authorized(area, Access::Write)
    }

    fn authorized(
        &self,
        area: Area,
        needed: Access,
    ) -> Result<MutexGuard<'_, Repository>, Failure> {
        let caller = &self.context.caller;
        if matches!(caller, Caller::App(_)) {
            return Err(Failure::forbidden("Resource not accessible by integration"));
        }
        let repository = locked(&self.repository);
        let place = &repository.place;
        caller.authorize(&place.full_name(), place.visibility, area, needed)?;
        Ok(repository)
    }

    pub(crate) fn parameter(&self, name: &str) -> &str {
        self.parameters
            .get(name)
            .map(String::as_str)
            .unwrap_or_default()
    }

    /// # Errors
    /// 404 for what is not a number.
    pub(crate) fn number(&self) -> Result<u64, Failure> {
        self.parameter("number")
            .parse()
            .map_err(|_| Failure::not_found())
    }

    /// A parameter of the query; an empty one is as good as absent.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Whether the client asks for this media type, such as `diff` or `raw`.
    pub(crate) fn accepts(&self, media: &str) -> bool {
        let accept = self
            .headers
            .get(header::ACCEPT)
            .and_then(|value| value.to_str().ok());
        accept.is_some_and(|accept| {
            accept
                .split(',')
                .map(|part| part.split(['+', ';']).next().unwrap_or_default().trim())
                .any(|part| {
                    part.strip_prefix("application/vnd.github.")
                        .is_some_and(|kind| {
                            kind == media
                                || kind.strip_prefix("v3.").is_some_and(|kind| kind == media)
                        })
                })
        })
    }

    /// # Errors
    /// 400 for what is not JSON, 422 for what does not fit the route.
    pub(crate) fn payload<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        payload(&self.body)
    }

    /// Writes to the log of effects; called under the lock of the repository.
    pub(crate) fn record(&self, repository: &Repository, happening: Happening<'_>) {
        self.context
            .record(&self.simulation, &repository.place.full_name(), happening);
    }
}

/// Reads a JSON body; an empty one is an empty object.
pub(crate) fn payload<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    let body = if body.is_empty() { b"{}" } else { body };
    let value: Value =
        serde_json::from_slice(body).map_err(|_| Failure::bad_request("Problems parsing JSON"))?;
    serde_json::from_value(value).map_err(|error| {
        let message = error.to_string();
        let missing = message
            .strip_prefix("missing field `")
            .and_then(|rest| rest.split_once('`'));
        match missing {
            Some((field, _)) => Failure::invalid_request(&format!("\"{field}\" wasn't supplied.")),
            None => Failure::invalid_request(&message),
        }
    })
}
