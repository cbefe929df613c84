//! What deliveries start by the rules of definitions (`on: [{webhook: …}]`): pure, so that routing a
//! delivery again decides the same.
//!
//! A rule is a route whose name is the workflow's with the rule's position, `issue_to_pr.on.0`. The
//! name is the same for every version of the definition, so that a delivery that is routed again after
//! a new version was applied starts nothing twice.

use std::sync::Arc;

use afu9_engine::expression::EvalError;
use afu9_engine::submit::Roots;
use afu9_engine::workflow::CompiledTrigger;
use afu9_schemas::definition::{TriggerRule, WebhookTrigger};
use afu9_schemas::message::{InboxDelivery, Repository};
use serde_json::{Map, Value, json};

use super::decide::{Decision, permanent, repository_of, started};
use crate::definitions::Known;

/// What `${repo.default_branch}` is where the payload does not say: as in the expressions of steps.
const DEFAULT_BRANCH: &str = "main";

/// What the rules of `definitions` make of `delivery`, whose body is `payload`: one decision for each
/// rule that matches, with the version it belongs to.
pub(crate) fn decide_by_rules(
    delivery: &InboxDelivery,
    payload: &Value,
    definitions: &[Arc<Known>],
) -> Vec<(Arc<Known>, Decision)> {
    let facts = Facts::new(delivery, payload);
    let mut decisions = Vec::new();
    for known in definitions {
        let decided = match &known.workflow {
            None => unreadable(known, delivery),
            Some(workflow) => {
                let rules = workflow.definition.triggers.iter().zip(&workflow.triggers);
                rules
                    .enumerate()
                    .filter_map(|(index, (rule, compiled))| match rule {
                        TriggerRule::Webhook(rule) => {
                            let name = &known.record.workflow.name;
                            facts.decide(&rule_name(name, index), name, rule, compiled)
                        }
                        TriggerRule::Schedule(_) | TriggerRule::Workflow(_) => None,
                    })
                    .collect()
            }
        };
        decisions.extend(decided.into_iter().map(|one| (Arc::clone(known), one)));
    }
    decisions
}

/// No name of a route of the configuration holds a dot, so the two sorts never share a key.
fn rule_name(workflow: &str, index: usize) -> String {
    format!("{workflow}.on.{index}")
}

/// A definition that a newer AFU-9 accepted. Its rules cannot be evaluated, only that they name the
/// event can be seen: rather a dead letter that can be redelivered than a delivery that did nothing.
fn unreadable(known: &Known, delivery: &InboxDelivery) -> Vec<Decision> {
    let name = &known.record.workflow.name;
    let rules = known.record.definition.get("on").and_then(Value::as_array);
    rules
        .into_iter()
        .flatten()
        .enumerate()
        .filter(|(_, rule)| rule["webhook"]["event"].as_str() == Some(delivery.event.as_str()))
        .map(|(index, _)| {
            let route = rule_name(name, index);
            let error = permanent(
                "workflow.unreadable",
                format!(
                    "`{route}`: the workflow cannot be read by this version of the gateway, so \
                     whether the delivery starts it is not known"
                ),
            );
            Decision::Failed { route, error }
        })
        .collect()
}

/// What the expressions of rules can see, and what a rule can ask for besides.
struct Facts<'a> {
    delivery: &'a InboxDelivery,
    payload: &'a Value,
    repository: Option<Repository>,
    event: Value,
    action: Value,
    headers: Value,
    repo: Option<Value>,
}

impl<'a> Facts<'a> {
    fn new(delivery: &'a InboxDelivery, payload: &'a Value) -> Self {
        let repository = repository_of(payload);
        let headers: Map<String, Value> = delivery
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        let repo = repository.as_ref().map(|repository| {
            let branch = repository.default_branch.as_deref();
            json!({
                "owner": repository.owner,
                "name": repository.name,
                "default_branch": branch.unwrap_or(DEFAULT_BRANCH),
            })
        });
        Self {
            delivery,
            payload,
            repository,
            event: json!(delivery.event),
            action: json!(delivery.action),
            headers: Value::Object(headers),
            repo,
        }
    }

    fn decide(
        &self,
        route: &str,
        workflow: &str,
        rule: &WebhookTrigger,
        compiled: &CompiledTrigger,
    ) -> Option<Decision> {
        if !self.is_addressed(rule) {
            return None;
        }
        let mut roots = vec![
            ("event", &self.event),
            ("action", &self.action),
            ("payload", self.payload),
            ("headers", &self.headers),
        ];
        roots.extend(self.repo.as_ref().map(|repo| ("repo", repo)));
        match compiled.fire(Roots(&roots), || json!({})) {
            Ok(None) => None,
            // `payload.label.name == 'x'` is meant to pass over payloads without a label.
            Err((place, EvalError::Unresolved { .. })) if place == "filter" => None,
            Ok(Some(input)) => Some(started(route, workflow, input, self.repository.as_ref())),
            Err((place, error)) => Some(Decision::Failed {
                route: route.to_owned(),
                error: permanent(error.code(), format!("`{route}`, {place}: {error}")),
            }),
        }
    }

    /// Everything but the filter.
    fn is_addressed(&self, rule: &WebhookTrigger) -> bool {
        let action = self.delivery.action.as_deref();
        rule.source == self.delivery.source
            && rule.event == self.delivery.event
            && (rule.actions.is_empty()
                || rule.actions.iter().any(|wanted| Some(&**wanted) == action))
            && (rule.repositories.is_empty()
                || rule.repositories.iter().any(|wanted| self.is_from(wanted)))
    }

    /// Whether the payload is about `wanted`: `owner/name`, or `owner/*` for all of an owner,
    /// whatever its case.
    fn is_from(&self, wanted: &str) -> bool {
        let (Some(repository), Some((owner, name))) = (&self.repository, wanted.split_once('/'))
        else {
            return false;
        };
        owner.eq_ignore_ascii_case(&repository.owner)
            && (name == "*" || name.eq_ignore_ascii_case(&repository.name))
    }
}

#[cfg(test)]
mod tests {
    use afu9_schemas::message::InboxBody;
    use afu9_schemas::{DeliveryId, Timestamp};

    use super::*;
    use crate::definitions::tests::known;

    fn delivery() -> InboxDelivery {
        InboxDelivery {
            id: DeliveryId::new("d").expect("valid"),
            source: "github".to_owned(),
            event: "issues".to_owned(),
            action: Some("labeled".to_owned()),
            headers: vec![("x-github-hook-id".to_owned(), "7".to_owned())],
            body: InboxBody::Inline(Vec::new()),
            received_at: Timestamp::from_micros(0),
            replay_of: None,
            traceparent: None,
        }
    }

    fn payload() -> Value {
        json!({
            "label": {"name": "afu9"},
            "issue": {"number": 7},
            "repository": {"name": "shop", "owner": {"login": "acme"}},
        })
    }

    fn decide(on: Value) -> Vec<Decision> {
        let steps = json!([{"name": "a", "tool": "test.noop"}]);
        let known = known(json!({"name": "w", "on": on, "steps": steps}));
        assert!(known.workflow.is_some(), "a valid definition: {on}");
        decide_by_rules(&delivery(), &payload(), &[Arc::new(known)])
            .into_iter()
            .map(|(_, decision)| decision)
            .collect()
    }

    fn matches(mut rule: Value) -> bool {
        if rule.get("event").is_none() {
            rule["event"] = json!("issues");
        }
        matches!(
            decide(json!([{ "webhook": rule }]))[..],
            [Decision::Start { .. }]
        )
    }

    #[test]
    fn a_rule_maps_the_delivery_and_is_named_by_its_position() {
        let decisions = decide(json!([
            {"schedule": {"cron": "0 6 * * *"}},
            {"webhook": {"event": "issues", "input": {
                "n": "${payload.issue.number}",
                "in": "${repo.owner}/${repo.name}@${repo.default_branch}",
                "hook": "${headers['x-github-hook-id']}",
                "what": "${event}.${action}",
            }}},
            {"webhook": {"event": "issues"}},
        ]));
        let repository = Repository {
            owner: "acme".to_owned(),
            name: "shop".to_owned(),
            default_branch: None,
        };
        let start = |route: &str, input: Value| Decision::Start {
            route: route.to_owned(),
            workflow: "w".to_owned(),
            input,
            repository: Some(repository.clone()),
        };
        let mapped = json!({
            "n": 7, "in": "acme/shop@main", "hook": "7", "what": "issues.labeled",
        });
        assert_eq!(
            decisions,
            [start("w.on.1", mapped), start("w.on.2", json!({}))]
        );
    }

    #[test]
    fn each_condition_must_hold() {
        assert!(matches(json!({})));
        assert!(matches(json!({"action": ["opened", "labeled"]})));
        assert!(!matches(json!({"action": "opened"})));
        assert!(!matches(json!({"source": "gitlab"})));
        assert!(!matches(json!({"event": "push"})));
        assert!(matches(json!({"repository": ["x/y", "Acme/*"]})));
        assert!(matches(json!({"repository": "acme/Shop"})));
        assert!(!matches(json!({"repository": "acme/other"})));
        assert!(matches(
            json!({"filter": "${payload.label.name == 'afu9'}"})
        ));
        assert!(!matches(json!({"filter": "${payload.label.name == 'x'}"})));
        let absent = json!({"filter": "${payload.comment.body == 'x'}"});
        assert!(!matches(absent), "absent does not hold");
    }

    #[test]
    fn what_cannot_be_evaluated_fails_alone() {
        let decisions = decide(json!([
            {"webhook": {"event": "issues", "input": {"x": "${payload.nothing}"}}},
            {"webhook": {"event": "issues"}},
        ]));
        match &decisions[..] {
            [Decision::Failed { route, error }, Decision::Start { .. }] => {
                assert_eq!(route, "w.on.0");
                assert_eq!(error.code, "expression.unresolved");
                assert!(error.message.contains("input"), "{}", error.message);
            }
            other => panic!("{other:#?}"),
        }
    }

    #[test]
    fn a_definition_of_a_newer_version_is_not_passed_over_in_silence() {
        let newer = |event: &str| {
            let on = json!([{"webhook": {"event": event, "of": "tomorrow"}}]);
            let newer = known(json!({"name": "w", "on": on}));
            assert!(newer.workflow.is_none());
            decide_by_rules(&delivery(), &payload(), &[Arc::new(newer)])
        };
        match &newer("issues")[..] {
            [(_, Decision::Failed { error, .. })] => assert_eq!(error.code, "workflow.unreadable"),
            other => panic!("{other:#?}"),
        }
        assert!(newer("push").is_empty());
    }
}
