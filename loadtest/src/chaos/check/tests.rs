//! Each promise, broken: the checker that never fails checks nothing.

use super::super::facts::Letter;
use super::super::load::Submission;
use super::*;

/// A run of four executions, of which one is poison, in which all went well.
fn clean() -> Facts {
    let row = |id: &str, work: Work, number: u32, issue: u64| Row {
        id: id.to_owned(),
        workflow: work.workflow().to_owned(),
        status: work.status().to_owned(),
        number,
        issue,
        ..Row::default()
    };
    let step = |execution: &str, name: &str, number: u32, attempts: &[u32]| Step {
        execution: execution.to_owned(),
        name: name.to_owned(),
        number,
        attempts: attempts.to_vec(),
    };
    let accepted = |work: Work, issue: u64, id: &str| Submission {
        work,
        issue,
        accepted: Accepted::Execution(id.to_owned()),
    };
    let keyed = |id: &str| Row {
        keyed: true,
        ..row(id, Work::One, 5, 9)
    };
    let mut facts = Facts {
        submissions: vec![
            accepted(Work::One, 9, "a"),
            accepted(Work::One, 9, "b"),
            accepted(Work::Permanent, 0, "p"),
            Submission {
                work: Work::Hook,
                issue: 4,
                accepted: Accepted::Delivery,
            },
        ],
        rows: vec![
            keyed("a"),
            keyed("b"),
            row("p", Work::Permanent, 3, 0),
            row("h", Work::Hook, 3, 4),
        ],
        steps: vec![
            step("a", "enter", 2, &[1]),
            step("a", "leave", 3, &[1, 2]),
            step("b", "enter", 3, &[1]),
            step("b", "leave", 4, &[1]),
            step("p", "permanent", 2, &[1]),
            step("h", "note", 2, &[1]),
        ],
        letters: vec![Letter {
            execution: Some("p".to_owned()),
            reason: "permanent",
        }],
        ..Facts::default()
    };
    // It had the key at once, so nothing tells that it had to wait.
    facts.rows[0].number = 4;
    for key in ["a.0", "a.1", "b.0", "b.1", "h.0"] {
        facts.comments.insert(key.to_owned(), 1);
    }
    let keys = ["a.0", "a.1", "b.0", "b.1"].map(str::to_owned);
    facts.conversations.insert(9, keys.to_vec());
    facts.listed = facts
        .rows
        .iter()
        .map(|row| (row.id.clone(), row.status.clone()))
        .collect();
    facts
}

fn broken(break_it: impl FnOnce(&mut Facts)) -> Verdict {
    let mut facts = clean();
    break_it(&mut facts);
    let verdict = check(&facts);
    assert!(!verdict.is_clean() && verdict.violations > 0, "{verdict:?}");
    verdict
}

#[test]
fn a_run_in_which_all_went_well_is_clean() {
    let verdict = check(&clean());
    assert!(verdict.is_clean(), "{verdict:#?}");
    assert_eq!(
        (verdict.submitted, verdict.completed, verdict.failed),
        (4, 3, 1)
    );
    assert_eq!((verdict.poison, verdict.dead_letters), (1, 1));
}

#[test]
fn a_run_without_success_is_not_clean() {
    assert!(!check(&Facts::default()).is_clean());
}

#[test]
fn what_was_accepted_and_is_not_there_is_lost() {
    let verdict = broken(|facts| {
        facts.rows.remove(1);
    });
    assert_eq!(verdict.lost, 1);
    let verdict = broken(|facts| {
        facts.rows.remove(3);
    });
    assert_eq!(verdict.lost, 1, "a delivery");
    let verdict = broken(|facts| {
        facts.comments.remove("a.1");
    });
    assert_eq!(verdict.lost, 1, "an effect");
}

#[test]
fn what_nobody_asked_for_and_what_is_done_twice_is_duplicated() {
    let verdict = broken(|facts| {
        let again = Row {
            id: "x".to_owned(),
            ..facts.rows[3].clone()
        };
        facts.rows.push(again);
    });
    assert!(
        verdict.duplicated >= 1,
        "a second execution of one delivery"
    );
    let verdict = broken(|facts| {
        facts.comments.insert("b.0".to_owned(), 2);
    });
    assert_eq!(verdict.duplicated, 1, "an effect");
    let verdict = broken(|facts| {
        facts.submissions[0].accepted = Accepted::Twice("a".to_owned(), "x".to_owned());
    });
    assert_eq!(verdict.duplicated, 1, "a submission");
    let verdict = broken(|facts| {
        facts.pulls.insert("chaos/1".to_owned(), 1);
    });
    assert_eq!(verdict.duplicated, 1, "a pull request");
}

#[test]
fn what_has_not_ended_is_stuck_and_what_ended_otherwise_is_seen() {
    let verdict = broken(|facts| facts.rows[0].status = "running".to_owned());
    assert_eq!(verdict.stuck, 1);
    let verdict = broken(|facts| facts.rows[0].status = "failed".to_owned());
    assert_eq!(verdict.unexpected, 1);
}

#[test]
fn gaps_and_repeated_numbers_in_history_are_seen() {
    let verdict = broken(|facts| {
        facts.steps.remove(5);
    });
    assert_eq!(verdict.history_gaps, 1, "a gap");
    let verdict = broken(|facts| facts.steps[1].number = 2);
    assert_eq!(verdict.history_gaps, 1, "a number twice");
    let verdict = broken(|facts| facts.rows[2].number = 2);
    assert_eq!(verdict.history_gaps, 1, "an event behind the end");
    let verdict = broken(|facts| facts.rows[3].workflow.clear());
    assert_eq!(verdict.history_gaps, 1, "no start");
}

#[test]
fn attempts_beyond_the_policy_are_seen() {
    let verdict = broken(|facts| facts.steps[4].attempts = vec![1, 2, 3]);
    assert_eq!(verdict.beyond_policy, 1);
    let verdict = broken(|facts| facts.steps[1].attempts = vec![1, 1]);
    assert_eq!(verdict.beyond_policy, 1, "counted anew");
}

#[test]
fn two_with_one_key_are_seen() {
    let verdict = broken(|facts| {
        let keys = ["a.0", "b.0", "a.1", "b.1"].map(str::to_owned);
        facts.conversations.insert(9, keys.to_vec());
    });
    assert!(verdict.overlaps > 0);
}

#[test]
fn contradictions_are_seen() {
    let verdict = broken(|facts| {
        facts.listed.insert("a".to_owned(), "failed".to_owned());
    });
    assert_eq!(verdict.contradictions, 1);
    let verdict = broken(|facts| {
        let ends = [(4, "completed".to_owned()), (4, "failed".to_owned())];
        facts.ends.insert("a".to_owned(), ends.into());
    });
    assert_eq!(verdict.contradictions, 1, "two ends");
}

#[test]
fn poison_has_one_dead_letter_and_nothing_else_has_any() {
    let verdict = broken(|facts| facts.letters.clear());
    assert_eq!(verdict.letters_wrong, 1);
    let verdict = broken(|facts| facts.letters.push(facts.letters[0].clone()));
    assert_eq!(verdict.letters_wrong, 1, "twice");
    let verdict = broken(|facts| {
        facts.letters.push(Letter {
            execution: Some("a".to_owned()),
            reason: "permanent",
        });
    });
    assert_eq!(verdict.letters_wrong, 1, "of something else");
    let verdict = broken(|facts| facts.unreadable = 1);
    assert_eq!(verdict.letters_wrong, 1, "unreadable");
}

#[test]
fn a_role_that_panicked_is_seen() {
    let verdict = broken(|facts| facts.mistakes.push("gateway-1 panicked".to_owned()));
    assert_eq!(verdict.violations, 1);
}
