//! Who calls, and whether they may. Every handler but health, readiness, metrics and webhooks takes
//! an [`Allowed`] first, so a request is refused before anything of it is looked at.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::header::AUTHORIZATION;
use http::request::Parts;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::app::App;
use crate::config::{Scope, TokenConfig};
use crate::problem::{Kind, Problem};

/// Stands for a scope in a handler's signature.
pub(super) trait Need {
    const SCOPE: Scope;
}

macro_rules! needs {
    ($($name:ident),*) => {
        $(
            #[derive(Debug)]
            pub(super) struct $name;

            impl Need for $name {
                const SCOPE: Scope = Scope::$name;
            }
        )*
    };
}

needs!(Read, Trigger, Operate, Approve, Admin);

/// A caller who may do what `S` stands for.
#[derive(Debug)]
pub(super) struct Allowed<S> {
    caller: Caller,
    scope: PhantomData<S>,
}

/// Who calls.
#[derive(Debug)]
pub(super) struct Caller {
    /// The name of the token.
    pub(super) name: String,
    scopes: Vec<Scope>,
}

impl Caller {
    /// What the token may do, by its names in configuration.
    pub(super) fn scopes(&self) -> Vec<String> {
        let names = self.scopes.iter().map(|scope| scope.as_str().to_owned());
        names.collect()
    }
}

impl<S> Deref for Allowed<S> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl<S: Need> FromRequestParts<Arc<App>> for Allowed<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let unauthenticated = |detail: &str| {
            Problem::new(
                Kind::Unauthenticated,
                detail,
                "send `Authorization: Bearer <token>` with a token of this gateway",
            )
        };
        let presented = parts
            .headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(bearer)
            .ok_or_else(|| unauthenticated("the request has no bearer token"))?;
        let token = find(presented, &app.config.tokens)
            .ok_or_else(|| unauthenticated("the bearer token is not known"))?;
        if !token.allows(&S::SCOPE) {
            return Err(Problem::new(
                Kind::MissingScope,
                format!(
                    "the token `{}` has no scope `{}`",
                    token.name,
                    S::SCOPE.as_str()
                ),
                "use a token with this scope, or have it added",
            ));
        }
        Ok(Self {
            caller: Caller {
                name: token.name.clone(),
                scopes: token.scopes.clone(),
            },
            scope: PhantomData,
        })
    }
}

/// The token in `Bearer <token>`; the scheme in any case, as RFC 9110 says.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The token that was presented. Every one is compared, so that the time taken tells nothing.
fn find<'a>(presented: &str, tokens: &'a [TokenConfig]) -> Option<&'a TokenConfig> {
    let digest = TokenConfig::digest(presented);
    let mut found = 0_u64;
    for (number, token) in (1_u64..).zip(tokens) {
        let same: Choice = digest.ct_eq(&token.sha256);
        found.conditional_assign(&number, same);
    }
    let index = usize::try_from(found.checked_sub(1)?).ok()?;
    tokens.get(index)
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn only_the_right_token_is_found() {
        let token = |name: &str, secret: &str| {
            TokenConfig::new(
                name,
                vec![Scope::Read],
                &SecretString::from(secret.to_owned()),
            )
        };
        let tokens = [token("a", "one"), token("b", "two")];
        assert_eq!(
            find("two", &tokens).map(|token| token.name.as_str()),
            Some("b")
        );
        assert_eq!(
            find("one", &tokens).map(|token| token.name.as_str()),
            Some("a")
        );
        assert!(find("three", &tokens).is_none());
        assert!(find("one", &[]).is_none());
    }

    #[test]
    fn the_header_is_read_as_it_is_defined() {
        assert_eq!(bearer("Bearer x"), Some("x"));
        assert_eq!(bearer("bearer x"), Some("x"));
        for bad in ["", "x", "Bearer", "Bearer ", "Basic x"] {
            assert_eq!(bearer(bad), None, "{bad}");
        }
    }
}
