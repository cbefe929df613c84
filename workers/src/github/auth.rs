//! Who the worker is to GitHub: a token, or a GitHub App that gets a token for each installation.
//!
//! An installation's token is fetched once for all who ask at the same time, and again shortly
//! before it expires or when GitHub no longer accepts it.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderValue, Method, StatusCode};
use octocrab::auth::create_jwt;
use octocrab::jsonwebtoken::EncodingKey;
use octocrab::models::AppId;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Mutex, OnceCell};

use super::address::Repository;
use super::client::{Request, Response, Transport};
use super::{Auth, Error};
use crate::ToolError;

/// A token that expires sooner is not used for a new request: the longest tool call ends in time.
const EXPIRY_MARGIN: TimeDelta = TimeDelta::minutes(5);

/// Most tokens kept. A token is about a hundred bytes, and a factory with more repositories than
/// this merely fetches some tokens again.
const TOKENS_MAX: usize = 10_000;

/// The credential, ready for use.
pub(super) enum Authentication {
    Token(Personal),
    App(App),
}

/// A token as it is configured.
pub(super) struct Personal {
    header: HeaderValue,
    /// Id of the token's user, asked for when it first matters; none if GitHub does not tell.
    user: OnceCell<Option<u64>>,
}

/// A GitHub App and the tokens of its installations.
pub(super) struct App {
    id: AppId,
    key: EncodingKey,
    installation: Option<u64>,
    /// By repository, or under one key if the installation is configured.
    tokens: Mutex<HashMap<String, Arc<Mutex<Option<Token>>>>>,
}

/// Who wrote something in GitHub.
#[derive(Debug, Deserialize)]
pub(super) struct Author {
    user: Option<User>,
    performed_via_github_app: Option<Via>,
}

#[derive(Debug, Deserialize)]
struct User {
    id: u64,
    #[serde(rename = "type", default)]
    kind: String,
}

#[derive(Debug, Deserialize)]
struct Via {
    id: u64,
}

struct Token {
    header: HeaderValue,
    expires_at: DateTime<Utc>,
}

impl Authentication {
    /// # Errors
    /// Names the configuration key whose value cannot be a credential.
    pub(super) fn new(auth: &Auth) -> Result<Self, Error> {
        match auth {
            Auth::Token(token) => {
                let token = token.expose_secret().trim();
                if token.is_empty() {
                    return Err(Error::Token);
                }
                let header = bearer(token).ok_or(Error::Token)?;
                Ok(Self::Token(Personal {
                    header,
                    user: OnceCell::new(),
                }))
            }
            Auth::App {
                app_id,
                private_key_pem,
                installation_id,
            } => {
                let pem = private_key_pem.expose_secret().as_bytes();
                let key = EncodingKey::from_rsa_pem(pem).map_err(Error::PrivateKey)?;
                Ok(Self::App(App {
                    id: AppId(*app_id),
                    key,
                    installation: *installation_id,
                    tokens: Mutex::new(HashMap::new()),
                }))
            }
        }
    }

    /// The configuration key to look at when GitHub refuses the credential.
    pub(super) fn configuration_key(&self) -> &'static str {
        match self {
            Self::Token(_) => "github.token",
            Self::App(_) => "github.app_id",
        }
    }

    /// The header that opens `repository`.
    ///
    /// Dropping the future is harmless: the next caller fetches the token.
    ///
    /// # Errors
    /// What GitHub says when an installation's token is fetched.
    pub(super) async fn header(
        &self,
        transport: &Transport,
        repository: &Repository,
    ) -> Result<HeaderValue, ToolError> {
        match self {
            Self::Token(token) => Ok(token.header.clone()),
            Self::App(app) => app.header(transport, repository).await,
        }
    }

    /// Forgets `refused`, which GitHub did not accept, unless another caller has replaced it
    /// already. False if there is nothing that could be fetched instead.
    pub(super) async fn forget(&self, repository: &Repository, refused: &HeaderValue) -> bool {
        let Self::App(app) = self else { return false };
        let slot = app.slot(repository).await;
        let mut token = slot.lock().await;
        if token.as_ref().is_some_and(|token| token.header == refused) {
            *token = None;
        }
        true
    }

    /// The request by which a check finds out whether the credential is accepted, and its header.
    /// Neither counts against the rate limit of repositories.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub(super) fn probe(&self) -> Result<(Request, HeaderValue), ToolError> {
        match self {
            Self::Token(token) => {
                let request = Request::get("/rate_limit".to_owned()).about("the token");
                Ok((request, token.header.clone()))
            }
            Self::App(app) => Ok((
                Request::get("/app".to_owned()).about("the GitHub App"),
                app.jwt()?,
            )),
        }
    }

    /// Whether `author` is this credential. Unknown counts as yes: some tokens may not ask GitHub
    /// who they are.
    ///
    /// # Errors
    /// When GitHub cannot be asked now.
    pub(super) async fn is(
        &self,
        transport: &Transport,
        author: &Author,
    ) -> Result<bool, ToolError> {
        let user = author.user.as_ref();
        match self {
            Self::Token(token) => {
                let own = token
                    .user
                    .get_or_try_init(|| token.ask_user(transport))
                    .await?;
                Ok(own.is_none() || *own == user.map(|user| user.id))
            }
            Self::App(app) => Ok(match &author.performed_via_github_app {
                Some(via) => via.id == app.id.0,
                None => user.is_some_and(|user| user.kind == "Bot"),
            }),
        }
    }
}

impl Personal {
    async fn ask_user(&self, transport: &Transport) -> Result<Option<u64>, ToolError> {
        let request = Request::get("/user".to_owned()).about("the token's user");
        let response = transport
            .exchange(&request, &self.header, "github.token")
            .await?;
        match response.status() {
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Ok(None),
            _ => response.json::<User>().map(|user| Some(user.id)),
        }
    }
}

impl App {
    async fn header(
        &self,
        transport: &Transport,
        repository: &Repository,
    ) -> Result<HeaderValue, ToolError> {
        let slot = self.slot(repository).await;
        // Held while fetching, so that all who wait here find the new token.
        let mut token = slot.lock().await;
        if let Some(token) = token.as_ref()
            && token.expires_at - Utc::now() > EXPIRY_MARGIN
        {
            return Ok(token.header.clone());
        }
        let fetched = self.fetch(transport, repository).await?;
        Ok(token.insert(fetched).header.clone())
    }

    async fn slot(&self, repository: &Repository) -> Arc<Mutex<Option<Token>>> {
        let key = match self.installation {
            Some(_) => String::new(),
            None => repository.to_string().to_ascii_lowercase(),
        };
        let mut tokens = self.tokens.lock().await;
        if tokens.len() >= TOKENS_MAX && !tokens.contains_key(&key) {
            tokens.clear();
        }
        Arc::clone(tokens.entry(key).or_default())
    }

    async fn fetch(
        &self,
        transport: &Transport,
        repository: &Repository,
    ) -> Result<Token, ToolError> {
        #[derive(Deserialize)]
        struct Installation {
            id: u64,
        }
        #[derive(Deserialize)]
        struct Fetched {
            token: SecretString,
            expires_at: DateTime<Utc>,
        }
        let jwt = self.jwt()?;
        let installation = match self.installation {
            Some(id) => id,
            None => {
                let request = Request::get(repository.path("installation")).about(format!(
                    "the installation of the GitHub App on {repository}"
                ));
                self.ask(transport, &request, &jwt)
                    .await?
                    .json::<Installation>()?
                    .id
            }
        };
        let path = format!("/app/installations/{installation}/access_tokens");
        let request = Request::new(Method::POST, path, &json!({}))
            .about(format!("installation {installation} of the GitHub App"));
        let fetched: Fetched = self.ask(transport, &request, &jwt).await?.json()?;
        let header = bearer(fetched.token.expose_secret()).ok_or_else(|| {
            ToolError::retryable(
                "github.bad_response",
                "GitHub sent a token that no header can hold",
            )
        })?;
        tracing::debug!(installation, expires_at = %fetched.expires_at, "installation token fetched");
        Ok(Token {
            header,
            expires_at: fetched.expires_at,
        })
    }

    async fn ask(
        &self,
        transport: &Transport,
        request: &Request,
        jwt: &HeaderValue,
    ) -> Result<Response, ToolError> {
        transport.exchange(request, jwt, "github.app_id").await
    }

    fn jwt(&self) -> Result<HeaderValue, ToolError> {
        create_jwt(self.id, &self.key)
            .ok()
            .and_then(|jwt| bearer(&jwt))
            .ok_or_else(|| {
                ToolError::permanent(
                    "github.unauthorized",
                    "`github.private_key_pem` cannot sign",
                )
            })
    }
}

fn bearer(token: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}
