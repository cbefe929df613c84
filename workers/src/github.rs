//! The GitHub worker: five tools, each of which leaves one effect however often it runs.
//!
//! The step's idempotency key goes into whatever a tool creates (a trailer, an invisible comment),
//! or the thing itself is its own key (a branch): a repetition finds the former run's work and
//! returns it. Two runs at the same time end with one effect too; each tool says how.
//!
//! **Architecture Invariant:** nothing here repeats a request because it failed. A refusal becomes
//! a [`ToolError`] with its class and wait, and the engine decides.

use std::sync::Arc;

use afu9_schemas::WorkerKind;
use secrecy::SecretString;
use thiserror::Error;

use crate::{Call, ToolError, Toolbox};

mod add_comment;
mod address;
mod auth;
mod check;
mod classify;
mod client;
mod commit_files;
mod create_branch;
mod create_pull_request;
mod get_issue;
mod git;
mod marker;
#[cfg(test)]
mod tests;

/// Where GitHub is, and who the worker is to it.
#[derive(Debug, Clone)]
pub struct Config {
    /// Base URL of the API; none for `https://api.github.com`. GitHub Enterprise Server has it at
    /// `https://<host>/api/v3`.
    pub base_url: Option<String>,
    /// The credential.
    pub auth: Auth,
}

/// The credential.
#[derive(Debug, Clone)]
pub enum Auth {
    /// A personal access token, fine-grained or classic.
    Token(SecretString),
    /// A GitHub App.
    App {
        /// The App's id.
        app_id: u64,
        /// Its RSA private key in PEM form.
        private_key_pem: SecretString,
        /// The installation to use; none to find it by the repository.
        installation_id: Option<u64>,
    },
}

/// What is wrong with a [`Config`].
#[derive(Debug, Error)]
pub enum Error {
    /// Its text is not repeated: somebody may have put a password into it.
    #[error("`github.base_url` is not an http or https address without user, query and fragment")]
    BaseUrl,
    /// The token could not be sent.
    #[error("`github.token` is empty or has characters that an HTTP header cannot hold")]
    Token,
    /// The App's key could not be read.
    #[error("`github.private_key_pem` is not an RSA private key in PEM form")]
    PrivateKey(#[source] octocrab::jsonwebtoken::errors::Error),
    /// The system's root certificates could not be read, for instance.
    #[error("the HTTP client for GitHub cannot be built")]
    Client(#[source] octocrab::Error),
}

/// The connection to GitHub that tools and checks share. A cheap handle.
#[derive(Clone)]
pub struct Github {
    client: Arc<client::Client>,
}

impl std::fmt::Debug for Github {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Github").finish_non_exhaustive()
    }
}

impl Github {
    /// Checks `config` and prepares the connection; no request is made yet.
    ///
    /// # Errors
    /// Names the configuration key that is wrong.
    ///
    /// # Panics
    /// Outside a Tokio runtime: the HTTP client has a task of its own.
    pub fn new(config: &Config) -> Result<Self, Error> {
        Ok(Self {
            client: Arc::new(client::Client::new(config)?),
        })
    }

    /// The five tools.
    pub fn toolbox(&self) -> Toolbox {
        // Each tool is a future of its own on the heap: a toolbox holds many, and few run.
        macro_rules! tool {
            ($module:ident) => {{
                let client = Arc::clone(&self.client);
                move |call: Call, params| {
                    let client = Arc::clone(&client);
                    async move { Box::pin($module::run(&client, &call, params)).await }
                }
            }};
        }
        let kind = WorkerKind::new("github").expect("names of built-in kinds are valid");
        Toolbox::new(kind)
            .with("getIssue", tool!(get_issue))
            .with("createBranch", tool!(create_branch))
            .with("commitFiles", tool!(commit_files))
            .with("createPullRequest", tool!(create_pull_request))
            .with("addComment", tool!(add_comment))
    }
}

/// The five tools over a connection of their own; see [`Github::toolbox`].
///
/// # Errors
/// Names the configuration key that is wrong.
///
/// # Panics
/// Outside a Tokio runtime: the HTTP client has a task of its own.
pub fn toolbox(config: &Config) -> Result<Toolbox, Error> {
    Ok(Github::new(config)?.toolbox())
}

/// Tools call this before a request, while stopping leaves nothing half done.
fn stop_if_cancelled(call: &Call) -> Result<(), ToolError> {
    if call.cancelled.is_cancelled() {
        Err(ToolError::cancelled())
    } else {
        Ok(())
    }
}
