//! Repeating an execution from one of its steps: which of the others are taken over as they ended.
//! Pure.

use std::collections::BTreeSet;

use afu9_engine::Workflow;
use afu9_schemas::artifact::{OmittedItems, json_size};
use afu9_schemas::message::KeptStep;
use afu9_schemas::view::{ExecutionView, StepAction, StepStatus, StepView};
use serde_json::Value;
use thiserror::Error;

/// Most bytes of outputs taken over: with an input of 256 KiB they must fit into one message.
pub(crate) const MAX_KEPT_BYTES: usize = 512 * 1024;

/// Why an execution cannot be repeated from a step.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum CannotKeep {
    #[error("the workflow has no step `{0}`")]
    UnknownStep(String),
    #[error("step `{step}`, which is before `{from}`, has not completed: it is {status}")]
    NotCompleted {
        step: String,
        from: String,
        status: &'static str,
    },
    #[error("the output of step `{0}` is not known any more")]
    OutputLost(String),
    #[error("the outputs that would be kept have {0} bytes, at most {MAX_KEPT_BYTES} can be")]
    TooLarge(usize),
}

impl CannotKeep {
    /// A stable code.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::UnknownStep(_) => "rerun.unknown_step",
            Self::NotCompleted { .. } => "rerun.not_completed",
            Self::OutputLost(_) => "rerun.output_lost",
            Self::TooLarge(_) => "rerun.too_large",
        }
    }

    /// What the caller can do.
    pub(crate) const fn next_action(&self) -> &'static str {
        match self {
            Self::UnknownStep(_) => "name a step of the version that is to run",
            Self::NotCompleted { .. } => "begin at that step, or leave `fromStep` out",
            Self::OutputLost(_) | Self::TooLarge(_) => {
                "begin at an earlier step, or leave `fromStep` out"
            }
        }
    }
}

/// The steps of `view` that a new execution of `workflow` takes over when it begins at `from`: every
/// completed one that is neither that step nor behind it, and none of `asking`, in which people decide:
/// what they decided was about what that execution did. Others run as if they had never run.
///
/// # Errors
/// When a step before `from` has not completed (one that was skipped is skipped again, or not), or
/// what would be taken over is not known or too large.
pub(crate) fn kept(
    workflow: &Workflow,
    view: &ExecutionView,
    from: &str,
    asking: &BTreeSet<u32>,
) -> Result<Vec<KeptStep>, CannotKeep> {
    let main = workflow.main;
    let begin = workflow
        .step(from)
        .filter(|step| (*step as usize) < main)
        .ok_or_else(|| CannotKeep::UnknownStep(from.to_owned()))?;
    let again = reachable(begin, |step| &workflow.nodes[step as usize].dependents);
    let before = reachable(begin, |step| &workflow.nodes[step as usize].needs);
    let mut kept = Vec::new();
    let mut bytes = 0;
    for (index, node) in workflow.numbered().take(main) {
        if again.contains(&index) {
            continue;
        }
        let step = view.steps.iter().find(|step| step.name == node.name);
        match step {
            Some(step) if step.status == StepStatus::Completed => {
                // It may have been one in the version that ran.
                if asking.contains(&index) || step.action == StepAction::Approval {
                    continue;
                }
                bytes += step.output.as_ref().map_or(0, output_size);
                kept.push(keep(step, view.truncated)?);
            }
            Some(step) if step.status == StepStatus::Skipped => {}
            _ if !before.contains(&index) => {}
            other => {
                return Err(CannotKeep::NotCompleted {
                    step: node.name.clone(),
                    from: from.to_owned(),
                    status: other.map_or("unknown", |step| step.status.as_str()),
                });
            }
        }
    }
    if bytes > MAX_KEPT_BYTES {
        return Err(CannotKeep::TooLarge(bytes));
    }
    Ok(kept)
}

/// The size of an output, also of one that only its size is known of: that is more than can be kept,
/// because less is not left out.
fn output_size(output: &Value) -> usize {
    match OmittedItems::from_value(output) {
        Some(omitted) => omitted.bytes.max(MAX_KEPT_BYTES + 1),
        None => json_size(output),
    }
}

/// Every tool gives an output: where one is absent from a view that left some out, it is lost.
fn keep(step: &StepView, truncated: bool) -> Result<KeptStep, CannotKeep> {
    if step.output.is_none() && truncated {
        return Err(CannotKeep::OutputLost(step.name.clone()));
    }
    Ok(KeptStep {
        name: step.name.clone(),
        output: step.output.clone(),
    })
}

/// `begin`, and everything that `next` leads to from there.
fn reachable<'a>(begin: u32, next: impl Fn(u32) -> &'a Vec<u32>) -> BTreeSet<u32> {
    let mut found = BTreeSet::from([begin]);
    let mut open = vec![begin];
    while let Some(step) = open.pop() {
        for other in next(step) {
            if found.insert(*other) {
                open.push(*other);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use afu9_engine::workflow::compile;
    use afu9_schemas::definition::ReadOptions;
    use afu9_schemas::view::{ExecutionStatus, ExecutionSummary, StepRole};
    use afu9_schemas::{ExecutionId, Timestamp, WorkflowId};
    use serde_json::json;

    use super::*;

    /// `a` before `b` and `c`, both before `d`; `e` stands alone.
    fn workflow() -> Workflow {
        let step =
            |name: &str, needs: &[&str]| json!({"name": name, "tool": "test.noop", "needs": needs});
        let source = json!({"name": "w", "steps": [
            step("a", &[]), step("b", &["a"]), step("c", &["a"]), step("d", &["b", "c"]),
            step("e", &[]),
        ]});
        compile(&source.to_string(), ReadOptions::default())
            .expect("valid")
            .workflow
    }

    fn view(statuses: &[(&str, StepStatus)]) -> ExecutionView {
        let step = |(index, (name, status)): (usize, &(&str, StepStatus))| StepView {
            index: u32::try_from(index).expect("small"),
            name: (*name).to_owned(),
            tool: None,
            status: *status,
            input: None,
            output: (*status == StepStatus::Completed).then(|| json!({"of": name})),
            error: None,
            started_at: None,
            completed_at: None,
            attempts: Vec::new(),
            waiting_until: None,
            progress: None,
            item: None,
            role: StepRole::Main,
            action: StepAction::Tool,
            items: None,
            decisions: Vec::new(),
            message: None,
            child: None,
        };
        ExecutionView {
            summary: ExecutionSummary {
                id: ExecutionId::new(),
                workflow_id: WorkflowId::new(),
                workflow: "w".to_owned(),
                version: 1,
                status: ExecutionStatus::Failed,
                triggered_by: "t".to_owned(),
                started_at: Timestamp::from_micros(0),
                completed_at: None,
            },
            input: Value::Null,
            output: None,
            error: None,
            repository: None,
            steps: statuses.iter().enumerate().map(step).collect(),
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
        }
    }

    use StepStatus::{Completed, Failed, Skipped};

    fn names(statuses: &[(&str, StepStatus)], from: &str) -> Result<Vec<String>, CannotKeep> {
        let kept = kept(&workflow(), &view(statuses), from, &BTreeSet::new())?;
        Ok(kept.into_iter().map(|step| step.name).collect())
    }

    #[test]
    fn what_is_behind_the_step_runs_again_and_the_rest_is_kept() {
        let all = [
            ("a", Completed),
            ("b", Completed),
            ("c", Completed),
            ("d", Failed),
            ("e", Completed),
        ];
        assert_eq!(names(&all, "d").expect("kept"), ["a", "b", "c", "e"]);
        assert_eq!(names(&all, "b").expect("kept"), ["a", "c", "e"]);
        assert_eq!(names(&all, "a").expect("kept"), ["e"]);
        let kept = kept(&workflow(), &view(&all), "d", &BTreeSet::new()).expect("kept");
        assert_eq!(kept[0].output, Some(json!({"of": "a"})));
    }

    #[test]
    fn what_is_before_it_must_be_done() {
        let failed = [
            ("a", Completed),
            ("b", Failed),
            ("c", Completed),
            ("d", Skipped),
        ];
        match names(&failed, "d") {
            Err(CannotKeep::NotCompleted { step, status, .. }) => {
                assert_eq!((step.as_str(), status), ("b", "failed"));
            }
            other => panic!("{other:?}"),
        }
        // Beside it, and absent: they run.
        assert_eq!(names(&failed, "c").expect("kept"), ["a"]);
        let skipped = [("a", Completed), ("b", Skipped), ("c", Completed)];
        assert_eq!(names(&skipped, "d").expect("kept"), ["a", "c"]);
        let unknown = names(&skipped, "x");
        assert_eq!(unknown, Err(CannotKeep::UnknownStep("x".to_owned())));
    }

    #[test]
    fn what_people_decided_is_not_kept() {
        let mut all = view(&[
            ("a", Completed),
            ("b", Completed),
            ("c", Completed),
            ("d", Failed),
            ("e", Completed),
        ]);
        let kept = |view: &ExecutionView, asking: &[u32]| {
            let asking = asking.iter().copied().collect();
            let kept = kept(&workflow(), view, "d", &asking).expect("kept");
            kept.into_iter().map(|step| step.name).collect::<Vec<_>>()
        };
        assert_eq!(kept(&all, &[1]), ["a", "c", "e"], "now");
        all.steps[2].action = StepAction::Approval;
        assert_eq!(kept(&all, &[]), ["a", "b", "e"], "then");
    }

    #[test]
    fn outputs_must_be_known_and_fit() {
        let mut truncated = view(&[("a", Completed), ("b", Completed), ("c", Completed)]);
        truncated.truncated = true;
        truncated.steps[1].output = None;
        let lost = kept(&workflow(), &truncated, "d", &BTreeSet::new());
        assert_eq!(lost, Err(CannotKeep::OutputLost("b".to_owned())));
        let mut large = view(&[("a", Completed), ("b", Completed), ("c", Completed)]);
        large.steps[0].output = Some(json!("x".repeat(MAX_KEPT_BYTES)));
        assert!(matches!(
            kept(&workflow(), &large, "d", &BTreeSet::new()),
            Err(CannotKeep::TooLarge(_))
        ));
        let omitted = OmittedItems {
            count: 9,
            bytes: MAX_KEPT_BYTES + 9,
        };
        large.steps[0].output = Some(omitted.to_value());
        let lost = kept(&workflow(), &large, "d", &BTreeSet::new());
        assert!(
            matches!(lost, Err(CannotKeep::TooLarge(_))),
            "only its size is known"
        );
        assert!(
            kept(&workflow(), &large, "a", &BTreeSet::new()).is_ok(),
            "not kept, so it does not count"
        );
    }
}
