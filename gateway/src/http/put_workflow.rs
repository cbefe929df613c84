//! `PUT /api/workflows/{name}`: applies a definition, given as JSON or YAML.

use std::sync::Arc;

use afu9_broker::history::history_message;
use afu9_engine::workflow::{self, Compiled};
use afu9_schemas::RequestId;
use afu9_schemas::definition::{self, Diagnostic, ReadOptions};
use afu9_schemas::message::{
    Control, ControlAction, ControlOutcome, ControlRecord, DefinitionRecord, HistoryBatch,
    HistoryEvent, HistoryKind,
};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde_json::json;
use uuid::Uuid;

use super::auth::{Admin, Allowed};
use super::start::test_tools;
use super::validate_workflow::mistakes_json;
use super::{body, computed};
use crate::app::{App, now};
use crate::config::Scope;
use crate::problem::{Kind, Problem};

pub(super) async fn put(
    State(app): State<Arc<App>>,
    caller: Allowed<Admin>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let source = body::definition(&app, &headers, body).await?;
    let path_name = name.clone();
    let compiled = computed(move || compile(&source, &path_name)).await?;
    let compiled = compiled.map_err(|mistakes| {
        Problem::new(
            Kind::InvalidDefinition,
            format!("the definition has {} mistake(s)", mistakes.len()),
            "correct every entry of `errors` and send it again",
        )
        .with("errors", mistakes_json(&mistakes))
    })?;
    if !app.config.allow_test_kind && !compiled.workflow.is_for_production() {
        return Err(test_tools(&name));
    }
    let value = compiled.value;
    let store = app
        .definitions
        .store()
        .await
        .map_err(|error| Problem::broker(&error))?;
    let applied = store.apply(&name, &value, &caller.name, now()).await;
    let applied = applied.map_err(|error| Problem::request(&error))?;
    app.catalog
        .note(&app.definitions.applied(applied.record.clone()));
    // Also when nothing changed: the one who applied it may have failed right here.
    publish(&app, &applied.record).await?;
    let workflow = &applied.record.workflow;
    let body = json!({
        "name": workflow.name,
        "version": workflow.version,
        "hash": workflow.hash,
        "created": applied.created,
    });
    let status = if applied.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(body)).into_response())
}

/// The definition, if it is valid in every respect and fits the path.
fn compile(source: &str, name: &str) -> Result<Compiled, Vec<Diagnostic>> {
    let options = ReadOptions { name: Some(name) };
    let compiled = workflow::compile(source, options);
    // Only a definition that can be read has a name to compare.
    let mut mistakes = Vec::new();
    if let Ok(read) = definition::read(source, options)
        && read.definition.name != name
    {
        mistakes.push(Diagnostic {
            position: read.positions.of("/name"),
            path: "/name".to_owned(),
            message: format!(
                "the definition is named `{}`, the path says `{name}`",
                read.definition.name
            ),
        });
    }
    match compiled {
        Ok(compiled) if mistakes.is_empty() => Ok(compiled),
        Ok(_) => Err(mistakes),
        Err(found) => {
            mistakes.extend(found);
            mistakes.sort_by_key(|mistake| mistake.position);
            Err(mistakes)
        }
    }
}

/// Names the wish to store a version: whoever tells of it again tells the same.
const APPLY_NAMESPACE: Uuid = Uuid::from_u128(0x6a1f_09a2_5c0e_7f4b_9d33_af09_0000_0003);

/// What the audit log says of a version: who stored it, and when. That a definition is sent again which
/// is the newest version already changes nothing, and is not on record.
fn audit(record: &DefinitionRecord) -> HistoryEvent {
    let workflow = &record.workflow;
    let name = format!("{}.{}", workflow.id, workflow.version);
    let control = Control {
        request: RequestId::from_uuid(Uuid::new_v5(&APPLY_NAMESPACE, name.as_bytes())),
        by: record.applied_by.clone(),
        // Nobody stores a definition without it.
        scopes: vec![Scope::Admin.as_str().to_owned()],
        reason: None,
        reply_to: None,
        content: None,
        action: ControlAction::Apply {
            to: workflow.clone(),
        },
    };
    HistoryEvent {
        execution: None,
        number: 0,
        at: record.applied_at,
        kind: HistoryKind::Controlled(Box::new(ControlRecord {
            execution: None,
            control,
            outcome: ControlOutcome::Applied,
        })),
    }
}

/// Tells history, by which Postgres gets it.
async fn publish(app: &App, record: &DefinitionRecord) -> Result<(), Problem> {
    let event = HistoryEvent {
        execution: None,
        number: record.workflow.version,
        at: record.applied_at,
        kind: HistoryKind::DefinitionApplied(Box::new(record.clone())),
    };
    let message = history_message(&HistoryBatch {
        partition: None,
        events: vec![event, audit(record)],
    });
    let message = message.map_err(|error| Problem::publish(&error))?;
    app.broker
        .publish(message)
        .await
        .map_err(|error| Problem::publish(&error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_must_be_that_of_the_path() {
        let nameless = "steps:\n  - name: a\n    tool: test.noop\n";
        assert_eq!(compile(nameless, "w").expect("valid").value["name"], "w");
        let named = format!("{nameless}name: other\n");
        let mistakes = compile(&named, "w").expect_err("another name");
        assert_eq!(
            (mistakes[0].position.line, mistakes[0].position.column),
            (4, 7)
        );
        assert!(compile(nameless, "Not A Name").is_err());
    }

    #[test]
    fn a_wrong_name_is_reported_with_the_mistakes_in_expressions() {
        let source = "name: other\nsteps:\n  - name: a\n    tool: test.echo\n    params: {value: \"${nothing}\"}\n";
        let mistakes = compile(source, "w").expect_err("two mistakes");
        let lines: Vec<usize> = mistakes.iter().map(|m| m.position.line).collect();
        assert_eq!(lines, [1, 5]);
    }
}
