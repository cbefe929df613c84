//! What one request about many executions, or dead letters, answers.

use serde::Serialize;
use serde_json::{Value, json};

use crate::control::Carried;
use crate::problem::Problem;

/// Failures told one by one.
const MAX_FAILURES: usize = 50;

/// How often each outcome came.
#[derive(Debug, Default)]
struct Counts {
    applied: usize,
    unchanged: usize,
    refused: usize,
    pending: usize,
    failed: usize,
}

/// What came of all of them, each told by its id; a problem only if nothing may have been done. A problem
/// that the caller can do something about is a refusal, any other a failure.
pub(super) fn report<Id: Serialize>(
    action: &str,
    carried: &[(Id, Result<Carried, Problem>)],
    next_cursor: Option<String>,
) -> Result<Value, Problem> {
    let mut counts = Counts::default();
    let mut failures = Vec::new();
    for (id, one) in carried {
        let (count, code) = match one {
            Ok(Carried::Applied) => (&mut counts.applied, None),
            Ok(Carried::Unchanged) => (&mut counts.unchanged, None),
            Ok(Carried::Pending) => (&mut counts.pending, None),
            Ok(Carried::Refused { code, .. }) => (&mut counts.refused, Some(code.as_str())),
            Err(error) if error.status().is_server_error() => {
                (&mut counts.failed, Some(error.code()))
            }
            Err(error) => (&mut counts.refused, Some(error.code())),
        };
        *count += 1;
        if let Some(code) = code
            && failures.len() < MAX_FAILURES
        {
            failures.push(json!({"id": id, "code": code}));
        }
    }
    if counts.failed == carried.len()
        && let Some((_, Err(error))) = carried.first()
    {
        return Err(error.clone());
    }
    Ok(json!({
        "dryRun": false,
        "action": action,
        "matched": carried.len(),
        "applied": counts.applied,
        "unchanged": counts.unchanged,
        "refused": counts.refused,
        "pending": counts.pending,
        "failed": counts.failed,
        "failures": failures,
        "nextCursor": next_cursor,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Kind;

    fn problem(kind: Kind) -> Result<Carried, Problem> {
        Err(Problem::new(kind, "", ""))
    }

    fn refused() -> Result<Carried, Problem> {
        Ok(Carried::Refused {
            code: "no".to_owned(),
            message: String::new(),
        })
    }

    #[test]
    fn each_outcome_is_counted_and_what_did_not_happen_is_told_with_its_id() {
        let carried = [
            (1, Ok(Carried::Applied)),
            (2, Ok(Carried::Unchanged)),
            (3, refused()),
            (4, Ok(Carried::Pending)),
            (5, problem(Kind::Refused)),
            (6, problem(Kind::StreamFull)),
        ];
        let told = report("cancel", &carried, Some("next".to_owned())).expect("some were done");
        let counts = [
            "matched",
            "applied",
            "unchanged",
            "refused",
            "pending",
            "failed",
        ];
        assert_eq!(
            counts.map(|name| told[name].clone()),
            [6, 1, 1, 2, 1, 1].map(Value::from)
        );
        let ids: Vec<_> = told["failures"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| &one["id"])
            .collect();
        assert_eq!(ids, [3, 5, 6]);
        assert_eq!(told["nextCursor"], "next");
    }

    #[test]
    fn it_is_a_problem_only_if_all_failed() {
        assert!(report("cancel", &[(1, problem(Kind::StreamFull))], None).is_err());
        assert!(
            report(
                "cancel",
                &[(1, problem(Kind::StreamFull)), (2, refused())],
                None
            )
            .is_ok()
        );
        assert!(report::<u8>("cancel", &[], None).is_ok());
    }

    #[test]
    fn some_failures_are_told_and_all_are_counted() {
        let many: Vec<_> = (0..MAX_FAILURES + 1).map(|id| (id, refused())).collect();
        let told = report("cancel", &many, None).expect("none failed");
        assert_eq!(told["refused"], many.len());
        assert_eq!(
            told["failures"].as_array().map(Vec::len),
            Some(MAX_FAILURES)
        );
    }
}
