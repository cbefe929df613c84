//! A run: executions of chosen definitions, in a chosen order of everything that can happen, with the
//! world's part played in such a way that what comes of it does not depend on that order.

use std::collections::{BTreeMap, VecDeque};

use afu9_engine::checkpoint::Segment;
use afu9_engine::{Effect, ResolveChild};
use afu9_schemas::definition::Decision;
use afu9_schemas::id::mix64;
use afu9_schemas::message::{
    ChildResolved, ChildStart, Control, ControlAction, HoldScope, Input, InputKind, Job, Outcome,
    Parent, Trigger, TriggerKind,
};
use afu9_schemas::view::Cause;
use afu9_schemas::{ErrorClass, ExecutionId};
use serde_json::{Value, json};

use crate::choices::Choices;
use crate::definitions;
use crate::inputs;
use crate::lawful;
use crate::rig::{Rig, written};

/// Who approves, in any order.
const APPROVERS: [&str; 2] = ["anna", "bert"];

/// One run.
pub(crate) struct Run {
    pub(crate) rig: Rig,
    pub(crate) ids: Vec<ExecutionId>,
    /// What decides what happens next; none in a quiet run.
    choices: Option<Choices>,
    /// Dispatched, and not answered by the world.
    jobs: Vec<Job>,
    /// Written by owners, and not folded yet.
    inbox: VecDeque<Input>,
    /// Given before: may come again.
    given: Vec<Input>,
    /// Which wishes of people were sent.
    wishes: BTreeMap<String, Input>,
    segments: Vec<Segment>,
    covered: u64,
    paused: Vec<ExecutionId>,
    held: bool,
    requests: u64,
}

impl Run {
    /// Executions of definitions that `plan` chooses. Without `choices` nothing disturbs them.
    pub(crate) fn new(mut plan: Choices, choices: Option<Choices>) -> Self {
        let sources: Vec<String> = (0..=plan.pick(2))
            .map(|number| definitions::definition(&format!("w{number}"), &mut plan))
            .collect();
        let mut all: Vec<&str> = sources.iter().map(String::as_str).collect();
        all.push(definitions::CHILD);
        let mut run = Self {
            rig: Rig::new(&all),
            ids: Vec::new(),
            choices,
            jobs: Vec::new(),
            inbox: VecDeque::new(),
            given: Vec::new(),
            wishes: BTreeMap::new(),
            segments: Vec::new(),
            covered: 0,
            paused: Vec::new(),
            held: false,
            requests: 0,
        };
        for number in 0..=plan.pick(4) {
            let name = format!("w{}", plan.pick(sources.len()));
            let items: Vec<usize> = (0..plan.pick(5)).collect();
            let input = json!({ "n": plan.pick(6), "items": items });
            let id = ExecutionId::derived(&format!("run {number}"));
            let kind = run.rig.submission(&name, input);
            run.ids.push(id);
            run.inbox.push_back(Input {
                execution: id,
                kind,
            });
        }
        run
    }

    /// From now on `choices` disturb it.
    pub(crate) fn disturb(&mut self, choices: Choices) {
        self.choices = Some(choices);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.rig.state.live() == 0 && self.inbox.is_empty()
    }

    /// Goes on until every execution has ended.
    pub(crate) fn finish(&mut self) {
        for _ in 0..20_000 {
            if self.is_over() {
                return;
            }
            self.happen();
        }
        let live: Vec<_> = self
            .ids
            .iter()
            .filter_map(|id| self.rig.state.explain(*id))
            .collect();
        panic!("it does not end: {live:#?}");
    }

    fn pick(&mut self, possibilities: usize) -> usize {
        match &mut self.choices {
            Some(choices) => choices.pick(possibilities),
            None => 0,
        }
    }

    fn is_disturbed(&self) -> bool {
        self.choices
            .as_ref()
            .is_some_and(|choices| !choices.is_over())
    }

    /// One thing that can happen.
    pub(crate) fn happen(&mut self) {
        let what = if self.is_disturbed() {
            self.pick(16)
        } else {
            0
        };
        match what {
            1 if !self.given.is_empty() => {
                let at = self.pick(self.given.len());
                let again = self.given[at].clone();
                self.send(again);
            }
            2 => self.checkpoint(),
            3 => self.crash(),
            4 | 5 => self.pause_or_resume(),
            6 => self.hold_or_release(),
            7 => self.jobs.extend(self.jobs.last().cloned()),
            8..=10 => {
                self.people();
            }
            _ => self.go_on(),
        }
    }

    /// What happens by itself: something written arrives, a worker answers, an instant comes; people do
    /// what is waited for once nothing else moves.
    fn go_on(&mut self) {
        if !self.is_disturbed() {
            self.let_go();
        }
        let arriving = self.inbox.len();
        let working = self.jobs.len();
        if arriving + working > 0 {
            let at = self.pick(arriving + working);
            if at < arriving {
                self.arrive(at);
            } else {
                let job = self.jobs.remove(at - arriving);
                let answer = inputs::answer(&job, outcome(&job));
                self.given.push(answer.clone());
                self.send(answer);
            }
        } else if !self.people() && self.rig.state.next_wake().is_some() {
            let effects = self.rig.wake();
            self.carry_out(effects);
        }
    }

    /// Of the inputs of one execution the earliest arrives first: one writer wrote them.
    fn arrive(&mut self, at: usize) {
        let execution = self.inbox[at].execution;
        let first = self
            .inbox
            .iter()
            .position(|input| input.execution == execution);
        if let Some(input) = first.and_then(|first| self.inbox.remove(first)) {
            self.given.push(input.clone());
            self.send(input);
        }
    }

    pub(crate) fn send(&mut self, input: Input) {
        let effects = self.rig.send_all(vec![input]);
        lawful::everything_live_has_a_cause(&mut self.rig.state);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Dispatch(job) => self.jobs.push(*job),
                Effect::Submit(input) => self.inbox.push_back(*input),
                Effect::Resolve(wanted) => {
                    let found = self.found(&wanted);
                    self.inbox.push_back(found);
                }
                Effect::CancelJobs(_)
                | Effect::History(_)
                | Effect::DeadLetter(_)
                | Effect::Answer { .. }
                | Effect::Followed(_) => {}
            }
        }
    }

    fn found(&self, wanted: &ResolveChild) -> Input {
        let mut kind = self.rig.submission(&wanted.workflow, wanted.input.clone());
        let InputKind::Start(start) = &mut kind else {
            unreachable!("a submission");
        };
        start.trigger = Trigger {
            kind: TriggerKind::Child,
            ..start.trigger.clone()
        };
        start.parent = Some(Parent {
            execution: wanted.parent,
            step: wanted.step,
            item: wanted.item,
            attempt: wanted.attempt,
            waits: wanted.waits,
            depth: wanted.depth,
        });
        let name = format!(
            "{} {} {:?} {}",
            wanted.parent, wanted.step, wanted.item, wanted.attempt
        );
        Input {
            execution: wanted.parent,
            kind: InputKind::ChildResolved(Box::new(ChildResolved {
                step: wanted.step,
                item: wanted.item,
                attempt: wanted.attempt,
                child: Ok(Box::new(ChildStart {
                    execution: ExecutionId::derived(&name),
                    start: (**start).clone(),
                })),
            })),
        }
    }

    fn checkpoint(&mut self) {
        if self.pick(4) == 0 {
            self.segments = vec![self.rig.state.take_full()];
        } else {
            let delta = self.rig.state.take_delta();
            if self.pick(4) == 1 {
                // It could not be written.
                self.rig.state.put_back(delta);
                return;
            }
            self.segments.push(delta);
        }
        self.covered = self.rig.state.floor();
    }

    fn crash(&mut self) {
        let segments = self.segments.iter().map(written).collect();
        let effects = self.rig.replay(self.covered, segments);
        if self.pick(2) == 1 {
            // What it publishes again arrives again.
            self.carry_out(effects);
        }
    }

    /// A wish of people. The same one twice has the same request.
    pub(crate) fn wish(&mut self, execution: ExecutionId, by: &str, action: ControlAction) {
        self.requests += 1;
        let control = Control {
            by: by.to_owned(),
            ..inputs::control(self.requests, action)
        };
        let input = Input {
            execution,
            kind: InputKind::Control(Box::new(control)),
        };
        self.send(input);
    }

    fn pause_or_resume(&mut self) {
        match self.paused.pop() {
            Some(id) => self.wish(id, "operator", ControlAction::Resume),
            None => {
                let at = self.pick(self.ids.len());
                let id = self.ids[at];
                self.paused.push(id);
                self.wish(id, "operator", ControlAction::Pause);
            }
        }
    }

    fn hold_or_release(&mut self) {
        let scope = HoldScope::Workflow("w0".to_owned());
        self.held = !self.held;
        let action = if self.held {
            ControlAction::Hold(scope)
        } else {
            ControlAction::Release(scope)
        };
        self.wish(ExecutionId::NONE, "operator", action);
    }

    /// Nothing is held back any more.
    fn let_go(&mut self) {
        if self.held {
            self.hold_or_release();
        }
        while !self.paused.is_empty() {
            self.pause_or_resume();
        }
    }

    /// People do what executions wait for. Returns whether there was anything left to do.
    fn people(&mut self) -> bool {
        let mut wanted = Vec::new();
        for id in self.ids.clone() {
            let Some(view) = self.rig.state.explain(id) else {
                continue;
            };
            if self.is_disturbed() && !view.summary.status.is_terminal() {
                // One that nobody waits for yet is kept.
                let early = format!("go{}", self.pick(6));
                wanted.push((id, "signaller", signal(&early)));
            }
            for cause in view.causes {
                let step = cause.step.unwrap_or_default();
                match cause.cause {
                    Cause::Signal { name, .. } => wanted.push((id, "signaller", signal(&name))),
                    Cause::Approval { .. } => {
                        for by in APPROVERS {
                            let step = step.clone();
                            let decision = Decision::Approve;
                            wanted.push((id, by, ControlAction::Decide { step, decision }));
                        }
                    }
                    _ => {}
                }
            }
        }
        wanted
            .retain(|(id, by, action)| !self.wishes.contains_key(&format!("{id} {by} {action:?}")));
        if wanted.is_empty() {
            return false;
        }
        let at = self.pick(wanted.len());
        let (id, by, action) = wanted.swap_remove(at);
        self.requests += 1;
        let control = Control {
            by: by.to_owned(),
            ..inputs::control(self.requests, action.clone())
        };
        let input = Input {
            execution: id,
            kind: InputKind::Control(Box::new(control)),
        };
        self.wishes
            .insert(format!("{id} {by} {action:?}"), input.clone());
        self.given.push(input.clone());
        self.send(input);
        true
    }
}

fn signal(name: &str) -> ControlAction {
    ControlAction::Signal {
        name: name.to_owned(),
        payload: json!({ "ok": true, "name": name }),
    }
}

/// The world's answer to a job: decided by the job alone, so that every run gets the same. The output
/// depends on the parameters, so that a difference in what was known shows later.
pub(crate) fn outcome(job: &Job) -> Outcome {
    let place = u64::from(job.id.step) << 32 | u64::from(job.id.attempt);
    let item = job.id.item.map_or(0, |item| u64::from(item) + 1);
    match mix64(job.id.execution.hash64() ^ mix64(place) ^ mix64(item)) % 10 {
        0..=6 => {
            let known = job.params.get("value").cloned().unwrap_or(Value::Null);
            Outcome::Done(json!({ "value": known, "step": job.id.step }))
        }
        7 | 8 => inputs::failure(ErrorClass::Retryable),
        _ => inputs::failure(ErrorClass::Permanent),
    }
}
