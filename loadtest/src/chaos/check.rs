//! The checker: what was promised, compared with what is known. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Facts, Row, Step};
use super::load::Accepted;
use super::work::Work;

/// Sentences that are kept of all violations; all are counted.
const MAX_SENTENCES: usize = 40;

/// What the checker found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Submissions that were acknowledged.
    pub(super) submitted: usize,
    /// Of them and what they started: ended well.
    pub(super) completed: usize,
    /// Ended by an error; poison does.
    pub(super) failed: usize,
    /// Acknowledged, and nobody knows of it; or ended well, and an effect of it is not there.
    pub(super) lost: usize,
    /// Started or done more than once.
    pub(super) duplicated: usize,
    /// Not ended.
    pub(super) stuck: usize,
    /// Ended, but not as it should.
    pub(super) unexpected: usize,
    /// Never acknowledged by anybody, for as long as a client is patient.
    pub(super) unacknowledged: usize,
    /// Executions whose events have gaps, or number one twice.
    pub(super) history_gaps: usize,
    /// Executions that are told differently in different places.
    pub(super) contradictions: usize,
    /// Steps with more attempts than they may have, or with attempts that are not numbered in a row.
    pub(super) beyond_policy: usize,
    /// Executions that had a key of limit 1 together with another one.
    pub(super) overlaps: usize,
    /// Dead letters.
    pub(super) dead_letters: usize,
    /// What had to become one.
    pub(super) poison: usize,
    /// Dead letters that are none of the poison, and poison without.
    pub(super) letters_wrong: usize,
    /// What is wrong, in sentences.
    pub(super) sentences: Vec<String>,
    /// How many sentences there would be.
    pub(super) violations: usize,
}

impl Verdict {
    /// Whether everything is as promised, and there was something to promise.
    pub(super) fn is_clean(&self) -> bool {
        self.violations == 0 && self.completed > 0
    }

    fn wrong(&mut self, sentence: String) {
        self.violations += 1;
        if self.sentences.len() < MAX_SENTENCES {
            self.sentences.push(sentence);
        }
    }

    fn lost(&mut self, sentence: String) {
        self.lost += 1;
        self.wrong(sentence);
    }

    fn duplicated(&mut self, sentence: String) {
        self.duplicated += 1;
        self.wrong(sentence);
    }
}

/// Compares.
pub(super) fn check(facts: &Facts) -> Verdict {
    let mut verdict = Verdict::default();
    let rows: BTreeMap<&str, &Row> = facts
        .rows
        .iter()
        .map(|row| (row.id.as_str(), row))
        .collect();
    submissions(facts, &rows, &mut verdict);
    ends(facts, &mut verdict);
    places(facts, &rows, &mut verdict);
    history(facts, &mut verdict);
    comments(facts, &mut verdict);
    changes(facts, &mut verdict);
    keys(facts, &mut verdict);
    letters(facts, &rows, &mut verdict);
    for mistake in &facts.mistakes {
        verdict.wrong(mistake.clone());
    }
    if verdict.completed == 0 {
        verdict.wrong("nothing succeeded".to_owned());
    }
    verdict
}

/// Everything acknowledged is there once, and nothing else.
fn submissions(facts: &Facts, rows: &BTreeMap<&str, &Row>, verdict: &mut Verdict) {
    let mut asked: BTreeSet<&str> = BTreeSet::new();
    let mut perhaps: BTreeSet<(&str, u64)> = BTreeSet::new();
    for one in &facts.submissions {
        let work = one.work.workflow();
        match &one.accepted {
            Accepted::Execution(id) => {
                verdict.submitted += 1;
                if !asked.insert(id) {
                    verdict.wrong(format!("{id} was given to two submissions"));
                }
                if !rows.contains_key(id.as_str()) {
                    verdict.lost(format!("{id} of {work} was accepted and is not in history"));
                }
            }
            Accepted::Delivery => {
                verdict.submitted += 1;
                let started = facts.rows.iter();
                let started: Vec<&Row> = started
                    .filter(|row| row.workflow == work && row.issue == one.issue)
                    .collect();
                asked.extend(started.iter().map(|row| row.id.as_str()));
                match started.len() {
                    0 => verdict.lost(format!("the delivery of #{} started nothing", one.issue)),
                    1 => {}
                    _ => verdict.duplicated(format!(
                        "the delivery of #{} started {} executions",
                        one.issue,
                        started.len()
                    )),
                }
            }
            Accepted::Twice(first, second) => {
                verdict.submitted += 1;
                asked.extend([first.as_str(), second.as_str()]);
                verdict.duplicated(format!("one key of {work} started {first} and {second}"));
            }
            Accepted::No(why) => {
                verdict.unacknowledged += 1;
                perhaps.insert((work, one.issue));
                verdict.wrong(format!("{work} was not accepted: {why}"));
            }
        }
    }
    let mut children: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &facts.rows {
        if row.workflow == Work::Child.workflow() {
            *children.entry(&row.parent).or_default() += 1;
        } else if !asked.contains(row.id.as_str())
            && !perhaps.contains(&(row.workflow.as_str(), row.issue))
        {
            verdict.duplicated(format!("nobody asked for {} of {}", row.id, row.workflow));
        }
    }
    for row in rows
        .values()
        .filter(|row| row.workflow == Work::Items.workflow())
    {
        match children.remove(row.id.as_str()).unwrap_or(0) {
            0 if row.status == "completed" => verdict.lost(format!("{} has no child", row.id)),
            0 | 1 => {}
            count => verdict.duplicated(format!("{} has {count} children", row.id)),
        }
    }
    for parent in children.keys() {
        verdict.duplicated(format!("a child of {parent:?}, which has none"));
    }
}

/// Everything has ended, once, and as it should.
fn ends(facts: &Facts, verdict: &mut Verdict) {
    for row in &facts.rows {
        let Some(work) = Work::of_workflow(&row.workflow) else {
            verdict.wrong(format!("{} is of the workflow {:?}", row.id, row.workflow));
            continue;
        };
        match row.status.as_str() {
            "completed" => verdict.completed += 1,
            "failed" => verdict.failed += 1,
            "cancelled" => {}
            status => {
                verdict.stuck += 1;
                verdict.wrong(format!("{} of {} is {status}", row.id, row.workflow));
                continue;
            }
        }
        if row.status != work.status() {
            verdict.unexpected += 1;
            verdict.wrong(format!("{} of {} is {}", row.id, row.workflow, row.status));
        }
    }
}

/// Database, API and event stream tell the same of every execution.
fn places(facts: &Facts, rows: &BTreeMap<&str, &Row>, verdict: &mut Verdict) {
    let mut differ = BTreeSet::new();
    for (id, row) in rows {
        if facts.listed.get(*id) != Some(&row.status) {
            differ.insert(format!(
                "{id}: {} in history, {:?} by the API",
                row.status,
                facts.listed.get(*id)
            ));
        }
    }
    for id in facts
        .listed
        .keys()
        .filter(|id| !rows.contains_key(id.as_str()))
    {
        differ.insert(format!("{id} is known to the API and not in history"));
    }
    for (id, ends) in &facts.ends {
        let as_stored = rows
            .get(id.as_str())
            .map(|row| (u64::from(row.number), row.status.clone()));
        if ends.len() > 1 || ends.first() != as_stored.as_ref() {
            differ.insert(format!(
                "{id} was told to end as {ends:?}, and is {as_stored:?}"
            ));
        }
    }
    verdict.contradictions = differ.len();
    for sentence in differ {
        verdict.wrong(sentence);
    }
}

/// Attempts are those that the steps may have, and history is complete.
fn history(facts: &Facts, verdict: &mut Verdict) {
    for step in &facts.steps {
        let in_a_row = (1..)
            .zip(&step.attempts)
            .all(|(number, found)| number == *found);
        if step.attempts.len() > Work::attempts(&step.name) || !in_a_row {
            verdict.beyond_policy += 1;
            verdict.wrong(format!(
                "{} of {} has the attempts {:?}",
                step.name, step.execution, step.attempts
            ));
        }
    }
    for gap in gaps(&facts.rows, &facts.steps) {
        verdict.history_gaps += 1;
        verdict.wrong(gap);
    }
}

/// Executions whose events are not numbered from 1 without gaps, each in a sentence.
///
/// The database has a row for each end of a step, not for each event: the start, which alone tells
/// the workflow, is number 1, the end the newest. What has no row of its own is the first end of a
/// step that was undone, and the end of the wait for a key.
pub(super) fn gaps(rows: &[Row], steps: &[Step]) -> Vec<String> {
    let mut numbers: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for step in steps {
        let of_execution = numbers.entry(&step.execution).or_default();
        of_execution.push(step.number);
    }
    let mut gaps = Vec::new();
    for row in rows {
        let mut seen = numbers.remove(row.id.as_str()).unwrap_or_default();
        seen.push(row.number);
        if !row.workflow.is_empty() {
            seen.push(1);
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        let missing = i64::from(row.number) - seen.len() as i64;
        let without_row = i64::from(row.compensated);
        let fits = missing == without_row || (row.keyed && missing == without_row + 1);
        let starts = seen.first() == Some(&1);
        if !fits || !starts || seen.len() != count || seen.last() != Some(&row.number) {
            gaps.push(format!(
                "{} of {:?} has {} events, known are {seen:?}",
                row.id, row.workflow, row.number
            ));
        }
    }
    let without = numbers.into_keys();
    gaps.extend(without.map(|execution| format!("steps of {execution}, which has no row")));
    gaps
}

/// Each comment of an execution that ended as it should is at GitHub once, and no other is.
fn comments(facts: &Facts, verdict: &mut Verdict) {
    let mut there = facts.comments.clone();
    there.retain(|_, times| *times != 0);
    for row in &facts.rows {
        let Some(work) = Work::of_workflow(&row.workflow) else {
            continue;
        };
        for key in work.comments() {
            let key = format!("{}.{key}", row.id);
            match there.remove(&key).unwrap_or(0) {
                1 => {}
                0 if row.status == work.status() => {
                    verdict.lost(format!("the comment {key} is not at GitHub"));
                }
                0 => {}
                times => {
                    verdict.duplicated(format!("the comment {key} is at GitHub {times} times"))
                }
            }
        }
    }
    for (key, times) in there {
        verdict.duplicated(format!(
            "nobody asked for the comment {key} ({times} times)"
        ));
    }
}

/// Each change that completed has one branch, moved once, with one pull request; and there are no
/// others.
fn changes(facts: &Facts, verdict: &mut Verdict) {
    let mut known = BTreeSet::new();
    let changes = facts.rows.iter();
    for row in changes.filter(|row| row.workflow == Work::Change.workflow()) {
        let branch = format!("chaos/{}", row.issue);
        for (what, counts) in [
            ("made", &facts.branches),
            ("moved", &facts.moves),
            ("proposed", &facts.pulls),
        ] {
            match counts.get(&branch).copied().unwrap_or(0) {
                1 => {}
                0 if row.status == "completed" => {
                    verdict.lost(format!("the branch {branch} of {} was not {what}", row.id));
                }
                0 => {}
                times => {
                    verdict.duplicated(format!("the branch {branch} was {what} {times} times"))
                }
            }
        }
        known.insert(branch);
    }
    let all = facts.branches.keys().chain(facts.moves.keys());
    let all: BTreeSet<&String> = all.chain(facts.pulls.keys()).collect();
    for branch in all.into_iter().filter(|branch| !known.contains(*branch)) {
        verdict.duplicated(format!("nobody asked for the branch {branch}"));
    }
}

/// Of executions with one key, each leaves before another one enters.
fn keys(facts: &Facts, verdict: &mut Verdict) {
    let with_key = facts.submissions.iter().filter(|one| one.work == Work::One);
    let issues: BTreeSet<u64> = with_key.map(|one| one.issue).collect();
    for issue in issues {
        let mut inside: Option<&str> = None;
        for key in facts.conversations.get(&issue).into_iter().flatten() {
            let (execution, step) = key.split_once('.').unwrap_or((key, ""));
            let alone = match (step, inside) {
                ("0", None) => true,
                ("1", Some(other)) => other == execution,
                _ => false,
            };
            if !alone {
                verdict.overlaps += 1;
                verdict.wrong(format!(
                    "at #{issue}, {key} came while {inside:?} had the key"
                ));
            }
            inside = (step == "0").then_some(execution);
        }
    }
}

/// Poison becomes dead letters, each one once, and nothing else does.
fn letters(facts: &Facts, rows: &BTreeMap<&str, &Row>, verdict: &mut Verdict) {
    let mut poison: BTreeMap<&str, usize> = facts
        .rows
        .iter()
        .filter(|row| Work::of_workflow(&row.workflow).is_some_and(Work::is_poison))
        .map(|row| (row.id.as_str(), 0))
        .collect();
    verdict.poison = poison.len() + facts.unreadable;
    verdict.dead_letters = facts.letters.len();
    let mut unreadable = 0;
    for letter in &facts.letters {
        let Some(execution) = letter.execution.as_deref() else {
            unreadable += usize::from(letter.reason == "undecodable");
            if letter.reason != "undecodable" {
                verdict.letters_wrong += 1;
                verdict.wrong(format!("a dead letter without a job: {}", letter.reason));
            }
            continue;
        };
        match poison.get_mut(execution) {
            Some(times) => *times += 1,
            None => {
                verdict.letters_wrong += 1;
                let workflow = rows.get(execution).map(|row| row.workflow.as_str());
                verdict.wrong(format!("a dead letter of {execution} of {workflow:?}"));
            }
        }
    }
    for (execution, times) in poison.into_iter().filter(|(_, times)| *times != 1) {
        verdict.letters_wrong += 1;
        verdict.wrong(format!("the poison {execution} has {times} dead letters"));
    }
    if unreadable != facts.unreadable {
        verdict.letters_wrong += 1;
        verdict.wrong(format!(
            "{} unreadable messages have {unreadable} dead letters",
            facts.unreadable
        ));
    }
}

#[cfg(test)]
mod tests;
