//! What came out, against what is on record.

use afu9_schemas::view::{ExecutionView, StepStatus};

use super::{Difference, Differs, Record};
use crate::workflow::Workflow;

/// Adds what ended differently to what was seen on the way.
pub(super) fn compare(
    workflow: &Workflow,
    record: &Record,
    view: &ExecutionView,
    differences: &mut Vec<Difference>,
) {
    let unknown = differences.iter().any(|d| d.what == Differs::New);
    for recorded in record.steps.iter().filter(|step| step.item.is_none()) {
        let step = Some(recorded.name.clone());
        if workflow.step(&recorded.name).is_none() {
            if recorded.status != StepStatus::Skipped {
                differences.push(Difference {
                    step,
                    what: Differs::Gone,
                });
            }
            continue;
        }
        let Some(now) = view.steps.iter().find(|now| now.name == recorded.name) else {
            continue;
        };
        // Behind a new step nothing is known.
        if now.status != recorded.status && now.status.is_terminal() {
            differences.push(Difference {
                step,
                what: Differs::Status {
                    before: recorded.status.as_str(),
                    after: now.status.as_str(),
                },
            });
        }
    }
    if unknown {
        return;
    }
    let after = view.summary.status;
    if after != record.status {
        differences.push(Difference {
            step: None,
            what: Differs::Status {
                before: record.status.as_str(),
                after: after.as_str(),
            },
        });
    }
    if let (Some(before), Some(after)) = (&record.output, &view.output)
        && before != after
    {
        differences.push(Difference {
            step: None,
            what: Differs::Output {
                before: before.to_string(),
                after: after.to_string(),
            },
        });
    }
}
