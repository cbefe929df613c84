//! What a delivery starts: pure, so that routing it again decides the same.

use std::borrow::Cow;

use afu9_engine::expression::{EvalError, Scope};
use afu9_schemas::artifact::{MAX_INLINE_BYTES, json_size};
use afu9_schemas::message::{InboxDelivery, Repository};
use afu9_schemas::{ErrorClass, StepError};
use serde_json::{Value, json};

use super::Route;

/// What one route makes of a delivery it matches.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub(crate) enum Decision {
    /// It starts an execution.
    Start {
        /// The route's name.
        route: String,
        /// The workflow to start.
        workflow: String,
        /// The input.
        input: Value,
        /// The repository, if the payload names one.
        repository: Option<Repository>,
    },
    /// It matches, but cannot say what to start; deciding again will not help.
    Failed {
        /// The route's name.
        route: String,
        /// Why.
        error: StepError,
    },
}

/// What `routes` make of `delivery`, whose body is `payload`: one decision for each route that
/// matches, in their order; none if no route does.
pub(crate) fn decide(delivery: &InboxDelivery, payload: &Value, routes: &[Route]) -> Vec<Decision> {
    let scope = DeliveryScope {
        event: payload,
        delivery: json!({
            "id": delivery.id,
            "source": delivery.source,
            "event": delivery.event,
            "action": delivery.action,
        }),
    };
    let repository = repository_of(payload);
    routes
        .iter()
        .filter(|route| is_addressed(route, delivery, repository.as_ref()))
        .filter_map(|route| one(route, &scope, repository.as_ref()))
        .collect()
}

/// The key under which `route` starts one execution for `delivery`, for ever. Names of sources and
/// routes hold no colon, so two keys are never the same text.
pub(crate) fn key(delivery: &InboxDelivery, route: &str) -> String {
    format!("webhook:{}:{}:{route}", delivery.source, delivery.id)
}

/// Everything but the filter.
fn is_addressed(route: &Route, delivery: &InboxDelivery, repository: Option<&Repository>) -> bool {
    let from_repository = |wanted: &[String]| {
        repository.is_some_and(|repository| {
            let name = format!("{}/{}", repository.owner, repository.name);
            wanted
                .iter()
                .any(|wanted| wanted.eq_ignore_ascii_case(&name))
        })
    };
    route.source == delivery.source
        && route.event == delivery.event
        && (route.action.is_none() || route.action == delivery.action)
        && route.repositories.as_deref().is_none_or(from_repository)
}

fn one(
    route: &Route,
    scope: &DeliveryScope<'_>,
    repository: Option<&Repository>,
) -> Option<Decision> {
    let failed = |error: &EvalError, place: &str| {
        Some(Decision::Failed {
            route: route.name.clone(),
            error: permanent(
                error.code(),
                format!("route `{}`, {place}: {error}", route.name),
            ),
        })
    };
    if let Some(filter) = &route.filter {
        match filter.holds(scope) {
            Ok(true) => {}
            // `event.label.name == 'x'` is meant to pass over events without a label.
            Ok(false) | Err(EvalError::Unresolved { .. }) => return None,
            Err(error) => return failed(&error, "filter"),
        }
    }
    let input = match route.input.render(scope) {
        Ok(input) => input,
        Err((place, error)) => return failed(&error, &format!("input{place}")),
    };
    Some(started(&route.name, &route.workflow, input, repository))
}

/// The start of `workflow`, unless its input does not fit into a message.
pub(super) fn started(
    route: &str,
    workflow: &str,
    input: Value,
    repository: Option<&Repository>,
) -> Decision {
    let bytes = json_size(&input);
    if bytes > MAX_INLINE_BYTES {
        let error = permanent(
            "route.input_too_large",
            format!(
                "route `{route}`: the input has {bytes} bytes, at most {MAX_INLINE_BYTES} are \
                 accepted; map fewer fields of the event"
            ),
        );
        return Decision::Failed {
            route: route.to_owned(),
            error,
        };
    }
    Decision::Start {
        route: route.to_owned(),
        workflow: workflow.to_owned(),
        input,
        repository: repository.cloned(),
    }
}

/// An error that no further try can mend.
pub(crate) fn permanent(code: &str, message: impl Into<String>) -> StepError {
    StepError::new(ErrorClass::Permanent, code, message)
}

/// The repository a payload of GitHub is about.
pub(super) fn repository_of(payload: &Value) -> Option<Repository> {
    let repository = payload.get("repository")?;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let owner = repository.get("owner")?;
    Some(Repository {
        owner: text(owner.get("login"))?,
        name: text(repository.get("name"))?,
        default_branch: text(repository.get("default_branch")),
    })
}

struct DeliveryScope<'a> {
    event: &'a Value,
    delivery: Value,
}

impl Scope for DeliveryScope<'_> {
    fn root(&self, name: &str) -> Option<Cow<'_, Value>> {
        match name {
            "event" => Some(Cow::Borrowed(self.event)),
            "delivery" => Some(Cow::Borrowed(&self.delivery)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use afu9_schemas::message::InboxBody;
    use afu9_schemas::{DeliveryId, Timestamp};

    use super::*;
    use crate::route::routes_from_toml;

    fn delivery(id: &str) -> InboxDelivery {
        InboxDelivery {
            id: DeliveryId::new(id).expect("valid"),
            source: "github".to_owned(),
            event: "issues".to_owned(),
            action: Some("labeled".to_owned()),
            headers: Vec::new(),
            body: InboxBody::Inline(Vec::new()),
            received_at: Timestamp::from_micros(0),
            replay_of: None,
            traceparent: None,
        }
    }

    fn payload() -> Value {
        json!({
            "action": "labeled",
            "label": {"name": "afu9"},
            "issue": {"number": 7, "title": "${event.issue.number}"},
            "repository": {"name": "shop", "owner": {"login": "acme"}, "default_branch": "main"},
        })
    }

    fn routes(more: &str) -> Vec<Route> {
        let text = format!("[[route]]\nname = \"r\"\nevent = \"issues\"\nworkflow = \"w\"\n{more}");
        routes_from_toml(&text).expect("valid")
    }

    fn matches(more: &str) -> bool {
        matches!(
            decide(&delivery("d"), &payload(), &routes(more))[..],
            [Decision::Start { .. }]
        )
    }

    #[test]
    fn a_match_starts_with_the_mapped_input_and_the_repository() {
        let routes =
            routes("input = { n = \"${event.issue.number}\", t = \"${event.issue.title}\" }");
        let decisions = decide(&delivery("d"), &payload(), &routes);
        let expected = Decision::Start {
            route: "r".to_owned(),
            workflow: "w".to_owned(),
            input: json!({"n": 7, "t": "${event.issue.number}"}),
            repository: Some(Repository {
                owner: "acme".to_owned(),
                name: "shop".to_owned(),
                default_branch: Some("main".to_owned()),
            }),
        };
        assert_eq!(decisions, [expected]);
    }

    #[test]
    fn the_same_delivery_and_route_mean_the_same_execution() {
        assert_eq!(key(&delivery("d"), "r"), "webhook:github:d:r");
        assert_ne!(key(&delivery("d"), "r"), key(&delivery("e"), "r"));
        let routes = routes("");
        let once = decide(&delivery("d"), &payload(), &routes);
        assert_eq!(once, decide(&delivery("d"), &payload(), &routes));
    }

    #[test]
    fn each_condition_must_hold() {
        assert!(matches("action = \"labeled\""));
        assert!(!matches("action = \"opened\""));
        assert!(!matches("source = \"gitlab\""));
        assert!(matches("repositories = [\"x/y\", \"Acme/Shop\"]"));
        assert!(!matches("repositories = [\"acme/other\"]"));
        assert!(matches("filter = \"event.label.name == 'afu9'\""));
        assert!(matches("filter = \"delivery.event == 'issues'\""));
        assert!(matches("filter = \"event.label\""));
        assert!(!matches("filter = \"event.label.name == 'other'\""));
        assert!(
            !matches("filter = \"event.comment.body == 'x'\""),
            "absent does not hold"
        );
        assert!(!matches("filter = \"event.absent\""));
    }

    #[test]
    fn several_routes_may_match_and_one_may_fail_alone() {
        let text = "[[route]]\nname = \"a\"\nevent = \"issues\"\nworkflow = \"w\"\n\
                    input = { x = \"${event.nothing}\" }\n\
                    [[route]]\nname = \"b\"\nevent = \"issues\"\nworkflow = \"w\"\n\
                    filter = \"event.issue.number + 'x' == 'y'\"\n\
                    [[route]]\nname = \"c\"\nevent = \"issues\"\nworkflow = \"w\"\n\
                    [[route]]\nname = \"d\"\nevent = \"push\"\nworkflow = \"w\"\n";
        let routes = routes_from_toml(text).expect("valid");
        let decisions = decide(&delivery("d"), &payload(), &routes);
        match &decisions[..] {
            [
                Decision::Failed {
                    route: a,
                    error: unresolved,
                },
                Decision::Failed {
                    route: b,
                    error: invalid,
                },
                Decision::Start { route: c, .. },
            ] => {
                assert_eq!((a.as_str(), b.as_str(), c.as_str()), ("a", "b", "c"));
                assert_eq!(unresolved.code, "expression.unresolved");
                assert_eq!(invalid.code, "expression.invalid");
                assert!(
                    unresolved.message.contains("input.x"),
                    "{}",
                    unresolved.message
                );
            }
            other => panic!("{other:#?}"),
        }
        let mut other = delivery("d");
        other.event = "star".to_owned();
        assert_eq!(decide(&other, &payload(), &routes), []);
    }

    #[test]
    fn an_input_too_large_for_a_message_fails() {
        let mut payload = payload();
        payload["issue"]["body"] = json!("x".repeat(MAX_INLINE_BYTES + 1));
        let decisions = decide(
            &delivery("d"),
            &payload,
            &routes("input = { all = \"${event}\" }"),
        );
        match &decisions[..] {
            [Decision::Failed { error, .. }] => assert_eq!(error.code, "route.input_too_large"),
            other => panic!("{other:#?}"),
        }
    }
}
