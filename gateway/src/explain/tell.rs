//! From what an execution waits for to what a caller reads: one English sentence for each cause, and
//! the same as data. Pure.

use afu9_schemas::Timestamp;
use afu9_schemas::message::HoldScope;
use afu9_schemas::view::{
    Cause, CauseView, ExecutionStatus, ExecutionSummary, ExecutionView, ExplainView,
};
use serde_json::{Value, json};

use super::Facts;
use crate::executions::error_json;

/// How somebody goes on with an execution that failed.
const HOW_ON: &str = "POST /api/executions/{id}/retry runs its failed steps again while its \
                      orchestrator keeps it, POST /api/executions/{id}/rerun starts it anew.";

/// What a live execution, or a failed one that is kept, waits for.
pub(crate) fn told(view: &ExplainView, facts: &Facts) -> Value {
    let told: Vec<(String, Value)> = view.causes.iter().map(|cause| one(cause, facts)).collect();
    let mut body = whole(&view.summary);
    let mut sentences: Vec<String> = told.iter().map(|(sentence, _)| sentence.clone()).collect();
    if view.summary.status.is_terminal() || sentences.is_empty() {
        sentences.insert(0, of_status(&view.summary));
    }
    body["summary"] = json!(sentences);
    body["causes"] = told.into_iter().map(|(_, cause)| cause).collect();
    body["more"] = json!(view.more);
    if let Some(error) = &view.error {
        body["error"] = error_json(error);
    }
    body
}

/// What is known of an execution that waits for nothing any more, or that nobody has looked at yet.
pub(crate) fn told_of_known(view: &ExecutionView) -> Value {
    let summary = &view.summary;
    let mut body = whole(summary);
    let sentence = match &view.error {
        Some(error) if summary.status.is_terminal() => {
            let on = match summary.status {
                ExecutionStatus::Failed => format!(" {HOW_ON}"),
                _ => String::new(),
            };
            format!(
                "{} {} ({}).{on}",
                of_status(summary),
                sentence_of(&error.message),
                error.code
            )
        }
        _ if summary.status.is_terminal() => of_status(summary),
        _ => "It was accepted a moment ago; its orchestrator is about to begin it.".to_owned(),
    };
    body["summary"] = json!([sentence]);
    body["causes"] = json!([]);
    body["more"] = json!(0);
    if let Some(error) = &view.error {
        body["error"] = error_json(error);
    }
    body
}

fn whole(summary: &ExecutionSummary) -> Value {
    json!({
        "executionId": summary.id,
        "workflow": summary.workflow,
        "version": summary.version,
        "status": summary.status.as_str(),
    })
}

fn of_status(summary: &ExecutionSummary) -> String {
    let at = summary
        .completed_at
        .map(|at| format!(" at {at}"))
        .unwrap_or_default();
    match summary.status {
        ExecutionStatus::Completed => format!("It completed{at} and waits for nothing."),
        ExecutionStatus::Failed => format!("It failed{at}."),
        ExecutionStatus::Cancelled => format!("It was cancelled{at}."),
        ExecutionStatus::Pending | ExecutionStatus::Running | ExecutionStatus::Paused => {
            "Its orchestrator is working on it just now.".to_owned()
        }
    }
}

/// An error's message as a sentence's part: it may end with a full stop of its own.
fn sentence_of(message: &str) -> &str {
    message.trim_end_matches('.')
}

/// A cause as a sentence and as data.
fn one(view: &CauseView, facts: &Facts) -> (String, Value) {
    let who = match (&view.step, view.item) {
        (Some(step), Some(item)) => format!("Item {item} of step `{step}`"),
        (Some(step), None) => format!("Step `{step}`"),
        (None, _) => "It".to_owned(),
    };
    let (sort, what, mut fields) = match &view.cause {
        Cause::Running { .. } | Cause::Worker { .. } => at_work(view, facts),
        Cause::Key { .. } | Cause::RateLimit { .. } | Cause::Debounce { .. } => at_key(&view.cause),
        Cause::Retry { .. } | Cause::DeadLettered { .. } => failed(&view.cause),
        Cause::Paused { .. } => paused(&view.cause),
        other => waiting(other),
    };
    fields["cause"] = json!(sort);
    if let Some(step) = &view.step {
        fields["step"] = json!(step);
    }
    if let Some(item) = view.item {
        fields["item"] = json!(item);
    }
    (format!("{who} {what}."), fields)
}

/// The sort of a cause, what to say of it, and its data.
type Told = (&'static str, String, Value);

fn at_work(view: &CauseView, facts: &Facts) -> Told {
    let found = match &view.cause {
        Cause::Running {
            job,
            tool,
            worker,
            since,
        } => Some((*job, Some(tool), worker.as_ref(), *since)),
        Cause::Worker { job: Some(job), .. } => {
            let tool = view.step.as_ref().and_then(|step| facts.tools.get(step));
            let running = facts.running.get(job);
            running.map(|(worker, since)| (*job, tool, Some(worker), *since))
        }
        _ => None,
    };
    if let Some((job, tool, worker, since)) = found {
        let by = worker.map_or_else(
            || "a worker".to_owned(),
            |worker| format!("worker `{worker}`"),
        );
        let what = tool.map(|tool| format!("`{tool}` ")).unwrap_or_default();
        let sentence = format!("is being worked on: {by} has run {what}since {since}");
        let fields = json!({
            "job": job.to_string(),
            "tool": tool,
            "worker": worker,
            "since": since.to_string(),
        });
        return ("running", sentence, fields);
    }
    let Cause::Worker {
        job,
        kind,
        lane,
        live,
        ahead,
        since,
    } = &view.cause
    else {
        return ("running", "is being worked on".to_owned(), json!({}));
    };
    let live = live.or_else(|| facts.live.get(kind).copied());
    // In the queue, it is itself one of those that are queued.
    let queued = facts.queued.get(&(kind.clone(), *lane));
    let queued = queued.map(|all| all.saturating_sub(1));
    let ahead = ahead.or(queued.filter(|_| job.is_some()));
    let mut sentence = match (job, live) {
        (_, Some(0)) => format!("waits for a `{kind}` worker since {since}, and none is alive"),
        (Some(_), _) => format!("waits for a free `{kind}` worker since {since}"),
        (None, _) => format!("waits for its turn among the `{kind}` jobs since {since}"),
    };
    match live {
        None => sentence.push_str("; which workers are alive is not known yet"),
        Some(0) => {}
        Some(live) => sentence.push_str(&format!("; workers alive: {live}")),
    }
    if let Some(ahead) = ahead {
        sentence.push_str(&format!("; at most {ahead} jobs are ahead of it"));
    }
    let fields = json!({
        "job": job.map(|job| job.to_string()),
        "kind": kind,
        "lane": lane,
        "live": live,
        "ahead": ahead,
        "since": since.to_string(),
    });
    ("worker", sentence, fields)
}

fn at_key(cause: &Cause) -> Told {
    match cause {
        Cause::Key {
            key,
            held_by,
            ahead,
        } => {
            let holders: Vec<String> = held_by.iter().map(ToString::to_string).collect();
            let by = if holders.is_empty() {
                String::new()
            } else {
                format!(", which is held by {}", holders.join(", "))
            };
            (
                "key",
                format!("waits for the key `{key}`{by}; {ahead} wait before it"),
                json!({"key": key, "heldBy": held_by, "ahead": ahead}),
            )
        }
        Cause::RateLimit { key, until } => (
            "rate_limit",
            format!("waits until {until}: the rate limit of the key `{key}` is used up"),
            json!({"key": key, "until": until.to_string()}),
        ),
        Cause::Debounce { key, until } => (
            "debounce",
            format!("waits until {until} for others with the key `{key}` to stay away"),
            json!({"key": key, "until": until.to_string()}),
        ),
        _ => ("key", "waits for its key".to_owned(), json!({})),
    }
}

fn waiting(cause: &Cause) -> Told {
    let by = |until: &Option<Timestamp>| match until {
        Some(until) => format!(", until {until} at most"),
        None => String::new(),
    };
    let at = |until: &Option<Timestamp>| until.map(|until| until.to_string());
    match cause {
        // The engine's way to say that it asks for the definition again at once.
        Cause::Timer { until } if *until == Timestamp::default() => (
            "timer",
            "waits for its definition to be found".to_owned(),
            json!({"until": null}),
        ),
        Cause::Deferred { at, progress } => (
            "deferred",
            match progress {
                Some(progress) => format!("{progress}; its tool looks again at {at}"),
                None => format!("its tool looks again at {at}"),
            },
            json!({"at": at.to_string(), "progress": progress}),
        ),
        Cause::Timer { until } => (
            "timer",
            format!("waits until {until}"),
            json!({"until": until.to_string()}),
        ),
        Cause::Signal { name, until } => (
            "signal",
            format!("waits for the signal `{name}`{}", by(until)),
            json!({"name": name, "until": at(until)}),
        ),
        Cause::Approval {
            scope,
            required,
            approved,
            until,
        } => (
            "approval",
            format!(
                "waits for approval by tokens with the scope `{scope}`{}; {approved} of \
                 {required} have approved",
                by(until)
            ),
            json!({
                "scope": scope,
                "required": required,
                "approved": approved,
                "until": at(until),
            }),
        ),
        Cause::Child {
            execution,
            workflow,
        } => {
            let what = match execution {
                Some(id) => format!("waits for the execution {id} of `{workflow}` to end"),
                None => format!("waits for the workflow `{workflow}` to be looked up"),
            };
            let fields = json!({"execution": execution, "workflow": workflow});
            ("child", what, fields)
        }
        _ => ("timer", "waits".to_owned(), json!({})),
    }
}

fn failed(cause: &Cause) -> Told {
    match cause {
        Cause::Retry {
            attempt,
            of,
            at,
            error,
        } => (
            "retry",
            format!(
                "waits until {at} for attempt {attempt} of {of}: {} ({})",
                sentence_of(&error.message),
                error.code
            ),
            json!({
                "attempt": attempt,
                "of": of,
                "at": at.to_string(),
                "error": error_json(error),
            }),
        ),
        Cause::DeadLettered { job, error } => (
            "dead_lettered",
            format!(
                "failed for good: {} ({}). {}",
                sentence_of(&error.message),
                error.code,
                sentence_of(HOW_ON)
            ),
            json!({"job": job.map(|job| job.to_string()), "error": error_json(error)}),
        ),
        _ => ("retry", "failed".to_owned(), json!({})),
    }
}

fn paused(cause: &Cause) -> Told {
    let Cause::Paused {
        scope,
        by,
        reason,
        since,
    } = cause
    else {
        return ("paused", "is paused".to_owned(), json!({}));
    };
    let why = reason
        .as_ref()
        .map(|reason| format!(" ({})", sentence_of(reason)))
        .unwrap_or_default();
    let held = match scope {
        None => "is paused".to_owned(),
        Some(HoldScope::All) => "is held with everything".to_owned(),
        Some(HoldScope::Workflow(name)) => format!("is held with the workflow `{name}`"),
        Some(HoldScope::Kind(kind)) => format!("waits because jobs of `{kind}` are held"),
    };
    (
        "paused",
        format!("{held} since {since} by `{by}`{why}"),
        json!({"scope": scope, "by": by, "reason": reason, "since": since.to_string()}),
    )
}

#[cfg(test)]
mod tests {
    use afu9_schemas::{
        ErrorClass, ExecutionId, JobId, Lane, StepError, WorkerId, WorkerKind, WorkflowId,
    };

    use super::*;

    fn summary(status: ExecutionStatus) -> ExecutionSummary {
        ExecutionSummary {
            id: ExecutionId::derived("x"),
            workflow_id: WorkflowId::new(),
            workflow: "w".to_owned(),
            version: 2,
            status,
            triggered_by: "t".to_owned(),
            started_at: Timestamp::from_micros(0),
            completed_at: status
                .is_terminal()
                .then(|| Timestamp::from_micros(1_000_000)),
        }
    }

    fn view(causes: Vec<Cause>) -> ExplainView {
        let causes = causes.into_iter().map(|cause| CauseView {
            step: Some("s".to_owned()),
            item: None,
            cause,
        });
        ExplainView {
            summary: summary(ExecutionStatus::Running),
            error: None,
            causes: causes.collect(),
            more: 0,
        }
    }

    fn github() -> WorkerKind {
        WorkerKind::new("github").expect("valid")
    }

    fn job() -> JobId {
        JobId {
            execution: ExecutionId::derived("x"),
            step: 0,
            attempt: 1,
            item: None,
        }
    }

    fn worker(job: Option<JobId>) -> Cause {
        Cause::Worker {
            job,
            kind: github(),
            lane: Lane::Bulk,
            live: None,
            ahead: None,
            since: Timestamp::from_micros(0),
        }
    }

    #[test]
    fn a_job_that_a_worker_runs_is_told_apart_from_one_that_waits() {
        let mut facts = Facts::default();
        facts.live.insert(github(), 2);
        facts.queued.insert((github(), Lane::Bulk), 4);
        let told_now = told(&view(vec![worker(Some(job())), worker(None)]), &facts);
        let waits = &told_now["causes"][0];
        assert_eq!(
            (&waits["cause"], &waits["step"]),
            (&json!("worker"), &json!("s"))
        );
        assert_eq!((&waits["live"], &waits["ahead"]), (&json!(2), &json!(3)));
        let held_back = &told_now["causes"][1];
        assert_eq!(
            (&held_back["job"], &held_back["ahead"]),
            (&json!(null), &json!(null))
        );
        assert_eq!(told_now["summary"].as_array().map(Vec::len), Some(2));

        let running = (
            WorkerId::new("w1").expect("valid"),
            Timestamp::from_micros(5_000_000),
        );
        facts.running.insert(job(), running);
        let tool = "github.getIssue".parse().expect("valid");
        facts.tools.insert("s".to_owned(), tool);
        let told_now = told(&view(vec![worker(Some(job()))]), &facts);
        let runs = &told_now["causes"][0];
        assert_eq!(
            (&runs["cause"], &runs["worker"]),
            (&json!("running"), &json!("w1"))
        );
        assert_eq!(runs["tool"], "github.getIssue");
        assert_eq!(runs["since"], "1970-01-01T00:00:05.000Z");
        assert_eq!(
            told_now["summary"],
            json!([
                "Step `s` is being worked on: worker `w1` has run `github.getIssue` since \
                 1970-01-01T00:00:05.000Z."
            ])
        );
    }

    #[test]
    fn every_cause_is_one_sentence_with_its_data() {
        let at = Timestamp::from_micros(1_000_000);
        let error = StepError::new(ErrorClass::Retryable, "http.503", "not now.");
        let key = || "k".to_owned();
        let causes = vec![
            Cause::Key {
                key: key(),
                held_by: vec![ExecutionId::derived("y")],
                ahead: 1,
            },
            Cause::RateLimit {
                key: key(),
                until: at,
            },
            Cause::Debounce {
                key: key(),
                until: at,
            },
            Cause::Timer { until: at },
            Cause::Timer {
                until: Timestamp::default(),
            },
            Cause::Signal {
                name: "go".to_owned(),
                until: None,
            },
            Cause::Approval {
                scope: "approve".to_owned(),
                required: 2,
                approved: 1,
                until: Some(at),
            },
            Cause::Child {
                execution: None,
                workflow: "c".to_owned(),
            },
            Cause::Retry {
                attempt: 2,
                of: 3,
                at,
                error: error.clone(),
            },
            Cause::Paused {
                scope: Some(HoldScope::Kind(github())),
                by: "ada".to_owned(),
                reason: Some("deploy".to_owned()),
                since: at,
            },
            Cause::DeadLettered {
                job: Some(job()),
                error,
            },
        ];
        let expected = [
            "key",
            "rate_limit",
            "debounce",
            "timer",
            "timer",
            "signal",
            "approval",
            "child",
            "retry",
            "paused",
            "dead_lettered",
        ];
        let told_now = told(&view(causes), &Facts::default());
        let sorts: Vec<&str> = told_now["causes"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|cause| cause["cause"].as_str().expect("a sort"))
            .collect();
        assert_eq!(sorts, expected);
        let sentences = told_now["summary"].as_array().expect("a list");
        assert_eq!(sentences.len(), expected.len());
        for sentence in sentences {
            let text = sentence.as_str().expect("text");
            assert!(
                text.starts_with("Step `s` ") && text.ends_with('.'),
                "{text}"
            );
            assert!(!text.ends_with(".."), "{text}");
        }
        assert_eq!(told_now["causes"][9]["scope"], json!({"kind": "github"}));
    }

    #[test]
    fn what_has_ended_is_told_from_what_is_known() {
        let mut known = ExecutionView {
            summary: summary(ExecutionStatus::Completed),
            input: Value::Null,
            output: None,
            error: None,
            repository: None,
            steps: Vec::new(),
            paused: None,
            key: None,
            parent: None,
            rerun_of: None,
            default_branch: None,
            rerun_reason: None,
            lane: afu9_schemas::Lane::Bulk,
            priority: 0,
            signals: 0,
            truncated: false,
        };
        let completed = told_of_known(&known);
        assert_eq!(
            (&completed["causes"], &completed["status"]),
            (&json!([]), &json!("completed"))
        );
        known.summary = summary(ExecutionStatus::Failed);
        known.error = Some(StepError::new(ErrorClass::Permanent, "x.y", "it broke"));
        let failed = told_of_known(&known);
        assert_eq!(failed["error"]["code"], "x.y");
        let text = failed["summary"][0].as_str().expect("text");
        assert!(
            text.contains("it broke (x.y)") && text.contains("/rerun"),
            "{text}"
        );
    }
}
