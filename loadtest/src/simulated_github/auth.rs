//! Who is calling, and what that caller may do.
//!
//! Invariant: whoever may not read a private repository cannot tell it from an absent one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::http::HeaderValue;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::config::{TokenKind, TokenSeed, Visibility};
use super::failure::Failure;

/// How much a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Nothing.
    None,
    /// Look.
    Read,
    /// Look and change.
    Write,
}

/// The permission that a route needs, named as in the permissions of a GitHub App.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    /// Git data, contents, branches, commits.
    Contents,
    /// Issues, their comments and labels.
    Issues,
    /// The repository itself.
    Metadata,
    /// Pull requests.
    PullRequests,
}

/// Who sent a request.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    Anonymous,
    Token(Arc<TokenSeed>),
    /// A JSON web token of the app with this id.
    App(u64),
}

impl Caller {
    /// The name in the log of effects, and of the rate limit's bucket.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Anonymous => "anonymous".to_owned(),
            Self::Token(token) => token.name.clone(),
            Self::App(id) => format!("app-{id}"),
        }
    }

    pub(crate) fn login(&self) -> &str {
        match self {
            Self::Token(token) => &token.login,
            Self::Anonymous | Self::App(_) => "ghost",
        }
    }

    /// How a message about the rate limit names the caller.
    pub(crate) fn limit_subject(&self) -> String {
        match self {
            Self::Anonymous => "127.0.0.1".to_owned(),
            Self::Token(token) if token.kind == TokenKind::Installation => {
                format!("installation {}", token.name)
            }
            Self::Token(token) => format!("user {}", token.login),
            Self::App(id) => format!("app ID {id}"),
        }
    }

    /// The access to a repository before the narrowing per area.
    pub(crate) fn access(&self, full_name: &str) -> Access {
        let Self::Token(token) = self else {
            return Access::None;
        };
        let named = token
            .access
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(full_name));
        named
            .map(|(_, access)| *access)
            .or(token.access.get("*").copied())
            .unwrap_or(Access::None)
    }

    /// # Errors
    /// 404 for what the caller may not see, 403 for what it may see but not do.
    pub(crate) fn authorize(
        &self,
        full_name: &str,
        visibility: Visibility,
        area: Area,
        needed: Access,
    ) -> Result<(), Failure> {
        let access = self.access(full_name);
        let is_public = visibility == Visibility::Public;
        if access < Access::Read && !is_public {
            return Err(Failure::not_found());
        }
        let narrowed = match self {
            Self::Token(token) => token.permissions.as_ref().map(|areas| {
                if area == Area::Metadata {
                    Access::Read
                } else {
                    grant(areas, area)
                }
            }),
            Self::Anonymous | Self::App(_) => None,
        };
        let granted = narrowed.map_or(access, |limit| limit.min(access));
        let granted = if is_public {
            granted.max(Access::Read)
        } else {
            granted
        };
        if granted >= needed {
            Ok(())
        } else {
            Err(self.refusal())
        }
    }

    fn refusal(&self) -> Failure {
        match self {
            Self::Token(token) if token.kind == TokenKind::Personal => {
                Failure::forbidden("Resource not accessible by personal access token")
            }
            Self::Token(_) | Self::App(_) => {
                Failure::forbidden("Resource not accessible by integration")
            }
            Self::Anonymous => Failure::unauthorized("Requires authentication"),
        }
    }
}

fn grant(areas: &BTreeMap<Area, Access>, area: Area) -> Access {
    areas.get(&area).copied().unwrap_or(Access::None)
}

/// A credential of the `Authorization` header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Credential<'a> {
    Absent,
    Token(&'a str),
    /// Has the three parts of a JSON web token.
    Jwt(&'a str),
    Unreadable,
}

/// Reads `Bearer x` and `token x`, whatever the case of the scheme.
pub(crate) fn credential(header: Option<&HeaderValue>) -> Credential<'_> {
    let Some(header) = header else {
        return Credential::Absent;
    };
    let Some((scheme, value)) = header.to_str().ok().and_then(|text| text.split_once(' ')) else {
        return Credential::Unreadable;
    };
    let value = value.trim();
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" if value.split('.').count() == 3 => Credential::Jwt(value),
        "bearer" | "token" if !value.is_empty() => Credential::Token(value),
        _ => Credential::Unreadable,
    }
}

/// All tokens that were not revoked.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    by_value: HashMap<String, Arc<TokenSeed>>,
}

impl Tokens {
    /// Adds a token; the same value replaces.
    pub(crate) fn add(&mut self, token: TokenSeed, now: DateTime<Utc>) {
        // Issued tokens live an hour, so dropping the expired bounds the map.
        self.by_value.retain(|_, known| is_valid(known, now));
        self.by_value.insert(token.value.clone(), Arc::new(token));
    }

    /// # Errors
    /// 401 for a value that is unknown, revoked or expired.
    pub(crate) fn caller(&self, value: &str, now: DateTime<Utc>) -> Result<Caller, Failure> {
        match self.by_value.get(value) {
            Some(token) if is_valid(token, now) => Ok(Caller::Token(Arc::clone(token))),
            _ => Err(Failure::unauthorized("Bad credentials")),
        }
    }

    /// Whether there was a token of this name.
    pub(crate) fn revoke(&mut self, name: &str) -> bool {
        let before = self.by_value.len();
        self.by_value.retain(|_, token| token.name != name);
        self.by_value.len() < before
    }
}

fn is_valid(token: &TokenSeed, now: DateTime<Utc>) -> bool {
    token.expires_at.is_none_or(|expiry| now < expiry)
}
