//! The queue before the queue: hundreds of units contend for a hundred places, and a successor that
//! begins with a checkpoint gives them out as the one before it would have.

use std::collections::BTreeMap;

use afu9_engine::Effect;
use afu9_engine::checkpoint::Segment;
use afu9_schemas::message::{ControlAction, HoldScope, Input, InputKind, Job, Outcome};
use afu9_schemas::tool::kind_profile;
use afu9_schemas::view::ExecutionStatus;
use afu9_schemas::{ErrorClass, ExecutionId, Lane, WorkerKind};
use proptest::prelude::*;
use serde_json::json;

use crate::choices::Choices;
use crate::inputs::{self, failure};
use crate::lawful;
use crate::rig::{Rig, dispatched};

/// Lists, each for a key: units of one key are one share.
const LISTS: &str = "
name: lists
concurrency: { key: \"${input.k}\", limit: 1000 }
steps:
  - { name: each, forEach: \"${input.items}\", maxParallel: 90, tool: github.getIssue, continueOnError: true,
      params: { owner: o, repo: r, number: \"${item}\" }, retry: { maxAttempts: 2, initialDelayMs: 100 } }
";

/// Few units, and a place in line of their own.
const SINGLES: &str = "
name: singles
steps:
  - { name: one, tool: github.getIssue, needs: [], params: { owner: o, repo: r, number: 1 } }
  - { name: two, tool: github.getIssue, needs: [], params: { owner: o, repo: r, number: 2 } }
  - { name: end, tool: test.noop, needs: [one, two] }
";

fn github() -> WorkerKind {
    WorkerKind::new("github").expect("a valid kind")
}

fn window() -> usize {
    kind_profile(&github()).expect("known").window
}

struct Crowd {
    rig: Rig,
    choices: Choices,
    jobs: Vec<Job>,
    ids: Vec<ExecutionId>,
    segments: Vec<Segment>,
    covered: u64,
    held: Vec<HoldScope>,
    paused: Vec<ExecutionId>,
}

impl Crowd {
    fn new(choices: Choices) -> Self {
        Self {
            rig: Rig::new(&[LISTS, SINGLES]),
            choices,
            jobs: Vec::new(),
            ids: Vec::new(),
            segments: Vec::new(),
            covered: 0,
            held: Vec::new(),
            paused: Vec::new(),
        }
    }

    fn come(&mut self) {
        let (name, input) = if self.choices.once_in(3) {
            ("singles", json!({}))
        } else {
            let items: Vec<usize> = (0..40 + self.choices.pick(60)).collect();
            (
                "lists",
                json!({ "k": self.choices.pick(4), "items": items }),
            )
        };
        let id = inputs::drawn(self.ids.len() as u64 + 1);
        let mut kind = self.rig.submission(name, input);
        if let InputKind::Start(start) = &mut kind {
            start.priority = [0, 0, 0, 5, -5][self.choices.pick(5)];
            if self.choices.once_in(8) {
                start.lane = Lane::Interactive;
            }
        }
        self.ids.push(id);
        let effects = self.rig.send(id, kind);
        self.take(&effects);
    }

    fn take(&mut self, effects: &[Effect]) {
        self.jobs.extend(dispatched(effects).into_iter().cloned());
        self.places_are_given_out();
    }

    /// No more than there are, and none is left while somebody waits.
    fn places_are_given_out(&self) {
        let mut outstanding: BTreeMap<(bool, &str), usize> = BTreeMap::new();
        let jobs: Vec<Job> = self.rig.state.outstanding_jobs().collect();
        for job in &jobs {
            let lane = job.lane == Lane::Bulk;
            *outstanding
                .entry((lane, job.tool.kind().as_str()))
                .or_default() += 1;
        }
        let most = outstanding.values().max().copied().unwrap_or(0);
        assert!(most <= window(), "{outstanding:?}");
        let is_free = self.held.is_empty() && self.paused.is_empty();
        assert!(
            !is_free || self.rig.state.waiting() == 0 || most == window(),
            "{} wait, and there are places: {outstanding:?}",
            self.rig.state.waiting()
        );
    }

    fn answer(&mut self) {
        if self.jobs.is_empty() {
            return;
        }
        let at = self.choices.pick(self.jobs.len());
        let job = self.jobs.swap_remove(at);
        let outcome = match self.choices.pick(8) {
            6 => failure(ErrorClass::Retryable),
            7 => failure(ErrorClass::Permanent),
            _ => Outcome::Done(json!({})),
        };
        let effects = self.rig.answer(&job, outcome);
        self.take(&effects);
    }

    fn happen(&mut self) {
        match self.choices.pick(16) {
            0 | 1 => self.come(),
            2 => {
                let full = self.choices.once_in(3);
                if full {
                    self.segments = vec![self.rig.state.take_full()];
                } else {
                    self.segments.push(self.rig.state.take_delta());
                }
                self.covered = self.rig.state.floor();
            }
            3 | 4 => {
                let again = self.rig.replay(self.covered, self.segments.clone());
                self.take(&again);
            }
            5 => self.hold_or_release(),
            6 => self.pause_or_resume(),
            7 if !self.ids.is_empty() => {
                let id = self.ids[self.choices.pick(self.ids.len())];
                self.rig.control(id, ControlAction::Cancel);
                self.gather();
            }
            8 if self.rig.state.next_wake().is_some() => {
                let effects = self.rig.wake();
                self.take(&effects);
            }
            _ => self.answer(),
        }
    }

    /// What wishes let go was dispatched; here it is found by asking.
    fn gather(&mut self) {
        let known: Vec<String> = self.jobs.iter().map(|job| job.id.to_string()).collect();
        let outstanding = self.rig.jobs().into_iter();
        self.jobs
            .extend(outstanding.filter(|job| !known.contains(&job.id.to_string())));
        self.places_are_given_out();
    }

    fn hold_or_release(&mut self) {
        let action = match self.held.pop() {
            Some(scope) => ControlAction::Release(scope),
            None => {
                let scope = match self.choices.pick(3) {
                    0 => HoldScope::Kind(github()),
                    1 => HoldScope::Workflow("lists".to_owned()),
                    _ => HoldScope::All,
                };
                self.held.push(scope.clone());
                ControlAction::Hold(scope)
            }
        };
        self.rig.control(ExecutionId::NONE, action);
        self.gather();
    }

    fn pause_or_resume(&mut self) {
        if let Some(id) = self.paused.pop() {
            self.rig.control(id, ControlAction::Resume);
        } else if !self.ids.is_empty() {
            let id = self.ids[self.choices.pick(self.ids.len())];
            self.rig.control(id, ControlAction::Pause);
            self.paused.push(id);
        }
        self.gather();
    }

    /// Everything ends once nothing is held back.
    fn end(&mut self) {
        while !self.held.is_empty() {
            self.hold_or_release();
        }
        while !self.paused.is_empty() {
            self.pause_or_resume();
        }
        while self.rig.state.live() > 0 {
            let jobs = self.rig.jobs();
            for job in jobs {
                let effects = self.rig.answer(&job, Outcome::Done(json!({})));
                drop(effects);
            }
            if self.rig.state.live() > 0 && self.rig.state.outstanding_jobs().next().is_none() {
                self.rig.wake();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 300, ..ProptestConfig::default() })]

    /// Whoever is first, by priority, by share, by the order in which they came; holds, pauses, cancels
    /// and retries included: each replay gives out the same places to the same units in the same order.
    #[test]
    fn a_successor_gives_out_places_as_its_predecessor_would_have(choices in Choices::strategy(900)) {
        let mut crowd = Crowd::new(choices);
        for _ in 0..3 {
            crowd.come();
        }
        while !crowd.choices.is_over() {
            crowd.happen();
        }
        lawful::everything_live_has_a_cause(&mut crowd.rig.state);
        let again = crowd.rig.replay(crowd.covered, crowd.segments.clone());
        drop(again);
        crowd.end();
        lawful::everything_is_lawful(&crowd.rig.effects, &crowd.rig.definitions);
        let first = crowd.rig.replay(0, Vec::new());
        prop_assert!(!first.is_empty());
    }
}

/// The same from outside: a list of ten thousand items delays somebody else's one by no more than
/// what was given out before.
#[test]
fn a_long_list_does_not_keep_others_waiting() {
    let mut rig = Rig::new(&[LISTS, SINGLES]);
    for k in 0..3 {
        let items: Vec<usize> = (0..90).collect();
        rig.start("lists", json!({ "k": k, "items": items }));
    }
    let late = rig.start("singles", json!({}));
    assert!(rig.state.waiting() > 100);
    let jobs: Vec<Job> = rig.jobs();
    let mut answered = 0;
    for job in jobs {
        if rig.jobs().iter().any(|job| job.id.execution == late) {
            break;
        }
        rig.answer(&job, Outcome::Done(json!({})));
        answered += 1;
    }
    assert!(answered <= 3, "it came after {answered} others");
}

#[test]
fn a_list_longer_than_the_window_ends_with_every_output_in_its_place() {
    let mut rig = Rig::new(&["
name: long
steps:
  - { name: each, forEach: \"${input.items}\", maxParallel: 1000, tool: github.getIssue,
      params: { owner: o, repo: r, number: \"${item}\" } }
"]);
    let items: Vec<usize> = (0..600).collect();
    let id = rig.start("long", json!({ "items": items }));
    assert_eq!(rig.state.outstanding_jobs().count(), window());
    assert_eq!(rig.state.waiting(), 600 - window());
    let mut backwards = Vec::new();
    while rig.state.live() > 0 {
        backwards.extend(rig.jobs());
        if backwards.len() % 7 == 0 {
            rig.crash();
        }
        let job = backwards.pop().expect("a job");
        let input = inputs::answer(&job, Outcome::Done(job.params["number"].clone()));
        let Input { execution, kind } = input;
        rig.send(execution, kind);
    }
    assert_eq!(
        rig.end(id).expect("ended").status,
        ExecutionStatus::Completed
    );
    assert_eq!(
        rig.ends(id).last().expect("the step").output,
        Some(json!(items))
    );
}
