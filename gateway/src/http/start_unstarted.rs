//! What a schedule, or the end of another execution, could not start is started after all: by the newest
//! version of its workflow, whose trigger must have been mended, once.

use afu9_engine::submit::Roots;
use afu9_schemas::ExecutionId;
use afu9_schemas::definition::TriggerRule;
use afu9_schemas::message::{Start, TriggerKind, Unstarted};
use serde_json::{Value, json};

use super::{show_execution, start};
use crate::app::App;
use crate::problem::{Kind, Problem};

/// Starts what `cause` should have started. The same cause starts one execution, whoever starts it.
pub(super) async fn start(app: &App, cause: &Unstarted) -> Result<ExecutionId, Problem> {
    let trigger = cause.trigger.clone().ok_or_else(|| {
        not_possible("it does not say who would have started it: an earlier version wrote it")
    })?;
    let known = start::enabled(app, &cause.workflow).await?;
    let workflow = start::runnable(app, &known)?;
    let rule = workflow.definition.triggers.get(cause.rule);
    let fits = matches!(
        (rule, trigger.kind),
        (Some(TriggerRule::Schedule(_)), TriggerKind::Schedule)
            | (Some(TriggerRule::Workflow(_)), TriggerKind::Workflow)
    );
    let compiled = workflow.triggers.get(cause.rule).filter(|_| fits);
    let compiled = compiled.ok_or_else(|| {
        not_possible("the newest version of the workflow has no such trigger in this place")
    })?;
    let (root, value, default) = match trigger.kind {
        TriggerKind::Workflow => {
            let upstream = upstream(app, &cause.cause["upstream"]).await?;
            let output = upstream["output"].clone();
            let default = if output.is_null() { json!({}) } else { output };
            ("upstream", upstream, default)
        }
        _ => ("schedule", cause.cause["schedule"].clone(), json!({})),
    };
    let input = compiled
        .fire(Roots(&[(root, &value)]), || default)
        .map_err(|(place, error)| {
            let next =
                "mend the trigger in the definition, apply it, and replay the dead letter again";
            let detail = format!("the trigger still has no value: {place}: {error}");
            Problem::new(Kind::Refused, detail, next).coded("trigger.expression")
        })?
        .ok_or_else(|| not_possible("the trigger's filter does not hold for it"))?;
    let mut wanted = Start {
        repository: cause.repository.clone(),
        ..Start::new(known.record.workflow.clone(), input, trigger)
    };
    start::prepare(workflow, &mut wanted)?;
    let name = Some((cause.origin.clone(), String::new()));
    Ok(start::submit(app, name, wanted).await?.execution)
}

/// The execution that ended, as expressions see it.
async fn upstream(app: &App, named: &Value) -> Result<Value, Problem> {
    let id = named["id"].as_str().unwrap_or_default();
    let (view, source) = show_execution::find(app, id).await?;
    let view = show_execution::whole(app, view, source).await?;
    Ok(json!({
        "id": named["id"],
        "workflow": named["workflow"],
        "status": named["status"],
        "input": view.input,
        "output": view.output,
        "error": view.error,
    }))
}

fn not_possible(why: &str) -> Problem {
    Problem::new(
        Kind::NotReplayable,
        format!("this dead letter cannot be replayed: {why}"),
        "start the workflow with POST /api/workflows/{name}/trigger, and discard the dead letter",
    )
}
