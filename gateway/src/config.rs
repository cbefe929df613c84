//! What a gateway needs to know. Built by the binary from its one configuration; nothing here reads
//! a file or the environment.

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use afu9_schemas::definition::is_approval_scope;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::route::Route;

/// What a gateway needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the binary binds the listener that [`crate::Gateway::run`] is given.
    pub listen: SocketAddr,
    /// The version of AFU-9, as `/api/health` shows it.
    pub version: String,
    /// Any of these may have signed a webhook: several, so that a secret can be rotated.
    pub webhook_secrets: Vec<SecretString>,
    /// Who may call the API.
    pub tokens: Vec<TokenConfig>,
    /// What a webhook delivery starts.
    pub routes: Vec<Route>,
    /// Start workflows whose tools are of the test kind.
    pub allow_test_kind: bool,
    /// An open dead letter that is older than this is a warning.
    pub dead_letter_alarm: Duration,
    /// Bounds on what one caller, and all of them together, can cost.
    pub limits: Limits,
}

impl Config {
    /// Somebody looks once a day.
    pub const DEAD_LETTER_ALARM: Duration = Duration::from_hours(24);

    /// A gateway that nobody may call yet, with default limits.
    pub fn new(listen: SocketAddr, version: impl Into<String>) -> Self {
        Self {
            listen,
            version: version.into(),
            webhook_secrets: Vec::new(),
            tokens: Vec::new(),
            routes: Vec::new(),
            allow_test_kind: false,
            dead_letter_alarm: Self::DEAD_LETTER_ALARM,
            limits: Limits::default(),
        }
    }

    /// Every mistake: what must be mended before the gateway can be relied on. The binary refuses to
    /// start with any; a gateway that runs all the same is not ready.
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self
            .webhook_secrets
            .iter()
            .any(|secret| secret.expose_secret().is_empty())
        {
            mistakes.push("a webhook secret is empty".to_owned());
        }
        let (mut names, mut hashes) = (HashSet::new(), HashSet::new());
        for token in &self.tokens {
            let name = &token.name;
            if !is_token_name(name) {
                mistakes.push(format!(
                    "the token name `{name}` is not 1 to 64 letters, digits, `.`, `-` or `_`"
                ));
            }
            if !names.insert(name.as_str()) {
                mistakes.push(format!("two tokens are named `{name}`"));
            }
            if !hashes.insert(token.sha256) {
                mistakes.push(format!(
                    "the token `{name}` has the same secret as another one"
                ));
            }
            if token.scopes.is_empty() {
                mistakes.push(format!("the token `{name}` has no scope"));
            }
        }
        let mut routes = HashSet::new();
        for route in &self.routes {
            if !routes.insert(route.name.as_str()) {
                mistakes.push(format!("two routes are named `{}`", route.name));
            }
        }
        let limits = &self.limits;
        if limits.request_timeout >= limits.drain {
            mistakes.push(format!(
                "the drain deadline ({} s) must be longer than the request timeout ({} s)",
                limits.drain.as_secs(),
                limits.request_timeout.as_secs()
            ));
        }
        mistakes
    }

    /// What is missing, though a gateway without it can make sense.
    pub fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        if self.tokens.is_empty() {
            gaps.push("no API token is configured, so nobody can call the API".to_owned());
        }
        if self.webhook_secrets.is_empty() {
            gaps.push("no webhook secret is configured, so webhooks are refused".to_owned());
        }
        gaps
    }
}

/// Token names are part of idempotency keys, between colons.
fn is_token_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

/// Bounds on what callers can cost.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest webhook body, in bytes.
    pub webhook_bytes: usize,
    /// Largest body of a trigger or another small request, in bytes.
    pub request_bytes: usize,
    /// Largest definition, in bytes.
    pub definition_bytes: usize,
    /// Bytes of bodies held in memory at once, over all requests.
    pub bodies_bytes: usize,
    /// Requests answered at once.
    pub requests: usize,
    /// Longest time for one request, its body included.
    pub request_timeout: Duration,
    /// Longest time from the wish to end until everything is let go.
    pub drain: Duration,
}

impl Limits {
    /// GitHub never sends more.
    pub const WEBHOOK_BYTES: usize = 25 * 1024 * 1024;

    /// An input travels in one message of the input log, beside others.
    pub const REQUEST_BYTES: usize = afu9_schemas::artifact::MAX_INLINE_BYTES;

    /// What the reader of definitions accepts.
    pub const DEFINITION_BYTES: usize = afu9_schemas::definition::MAX_DEFINITION_BYTES;

    /// Ten of the largest webhooks at once, or thousands of usual requests.
    pub const BODIES_BYTES: usize = 256 * 1024 * 1024;

    /// Far more than GitHub and a team send at once; a bound on memory, not on speed.
    pub const REQUESTS: usize = 2048;

    /// Longer than the log's writer repeats an unacknowledged message (20 s), so that its verdict
    /// reaches the caller.
    pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(25);

    /// Longer than a request may take, shorter than the 30 s most supervisors wait before they kill.
    pub const DRAIN: Duration = Duration::from_secs(28);
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            webhook_bytes: Self::WEBHOOK_BYTES,
            request_bytes: Self::REQUEST_BYTES,
            definition_bytes: Self::DEFINITION_BYTES,
            bodies_bytes: Self::BODIES_BYTES,
            requests: Self::REQUESTS,
            request_timeout: Self::REQUEST_TIMEOUT,
            drain: Self::DRAIN,
        }
    }
}

/// A bearer token: never itself, only its hash.
#[derive(Clone)]
pub struct TokenConfig {
    /// Who holds it; shown as the one who triggered, cancelled or applied something.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// SHA-256 of the token.
    pub sha256: [u8; 32],
}

impl TokenConfig {
    /// The configuration for `token`, which is not kept.
    pub fn new(name: impl Into<String>, scopes: Vec<Scope>, token: &SecretString) -> Self {
        Self {
            name: name.into(),
            scopes,
            sha256: Self::digest(token.expose_secret()),
        }
    }

    /// The hash by which a token is recognised.
    pub fn digest(token: &str) -> [u8; 32] {
        Sha256::digest(token).into()
    }

    pub(crate) fn allows(&self, wanted: &Scope) -> bool {
        self.scopes.iter().any(|scope| scope.implies(wanted))
    }
}

impl fmt::Debug for TokenConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenConfig")
            .field("name", &self.name)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// What a token may do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Look at everything.
    Read,
    /// Start executions and repeat them, and look.
    Trigger,
    /// Change what executions do (end them, hold them up, signal them, run them on), and look.
    Operate,
    /// Decide approvals that ask for no other scope.
    Approve,
    /// Decide approvals that ask for this scope: `approve:<name>`.
    ApproveNamed(String),
    /// Everything, also changing what workflows do.
    Admin,
}

impl Scope {
    /// Its name in configuration.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Read => "read",
            Self::Trigger => "trigger",
            Self::Operate => "operate",
            Self::Approve => "approve",
            Self::ApproveNamed(scope) => scope,
            Self::Admin => "admin",
        }
    }

    /// Whether who has `self` may do what `wanted` stands for. Whoever has a named scope may decide
    /// something; what, the engine knows.
    pub fn implies(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (Self::Admin, _)
            | (Self::Read | Self::Trigger | Self::Operate, Self::Read)
            | (Self::ApproveNamed(_), Self::Approve) => true,
            (scope, wanted) => scope == wanted,
        }
    }
}

/// Not the name of a scope.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "there is no scope `{0}`; there are read, trigger, operate, approve, approve:<name> (1 to 64 \
     letters, digits, `.`, `-` or `_`) and admin"
)]
pub struct InvalidScope(String);

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Ok(match name {
            "read" => Self::Read,
            "trigger" => Self::Trigger,
            "operate" => Self::Operate,
            "approve" => Self::Approve,
            "admin" => Self::Admin,
            _ if is_approval_scope(name) => Self::ApproveNamed(name.to_owned()),
            _ => return Err(InvalidScope(name.chars().take(40).collect())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::new(([127, 0, 0, 1], 0).into(), "0.0.0")
    }

    #[test]
    fn admin_implies_all_and_nothing_else_implies_a_write() {
        use Scope::{Admin, Approve, ApproveNamed, Operate, Read, Trigger};
        let named = |name: &str| ApproveNamed(format!("approve:{name}"));
        for wanted in [Read, Trigger, Operate, Approve, named("ship"), Admin] {
            assert!(Admin.implies(&wanted));
            assert_eq!(Read.implies(&wanted), wanted == Read);
            assert_eq!(Trigger.implies(&wanted), matches!(wanted, Read | Trigger));
            assert_eq!(Operate.implies(&wanted), matches!(wanted, Read | Operate));
            assert_eq!(Approve.implies(&wanted), wanted == Approve);
            let ship = wanted == Approve || wanted == named("ship");
            assert_eq!(named("ship").implies(&wanted), ship);
            assert!(wanted == Admin || !named("pay").implies(&wanted) || wanted == Approve);
            assert_eq!(wanted.as_str().parse(), Ok(wanted.clone()));
        }
        for bad in ["root", "approve:", "approve:a b", "approve:a:b", "Approve"] {
            assert!(bad.parse::<Scope>().is_err(), "{bad}");
        }
    }

    #[test]
    fn all_mistakes_are_found_together() {
        let token = |name: &str, secret: &str| {
            TokenConfig::new(
                name,
                vec![Scope::Read],
                &SecretString::from(secret.to_owned()),
            )
        };
        let mut config = config();
        assert_eq!((config.mistakes().len(), config.gaps().len()), (0, 2));
        config.webhook_secrets = vec![SecretString::from(String::new())];
        config.tokens = vec![token("a", "1"), token("a", "2"), token("b:c", "2")];
        config.limits.drain = Duration::from_secs(1);
        let mistakes = config.mistakes();
        assert_eq!(mistakes.len(), 5, "{mistakes:#?}");
        assert!(config.gaps().is_empty());
    }

    #[test]
    fn a_token_is_not_shown() {
        let token = TokenConfig::new(
            "a",
            vec![Scope::Read],
            &SecretString::from("s3cret".to_owned()),
        );
        let shown = format!("{token:?}");
        assert!(
            !shown.contains("s3cret") && !shown.contains("sha256"),
            "{shown}"
        );
    }
}
