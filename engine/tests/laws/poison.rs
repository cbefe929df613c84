//! Inputs that are set aside: they change nothing, and whoever waits for them is told.

use afu9_engine::{POISON, Remedy};
use afu9_schemas::ExecutionId;
use afu9_schemas::message::{ControlAction, ControlOutcome, HoldScope, Input, InputKind, Outcome};
use afu9_schemas::view::ExecutionStatus;
use serde_json::json;

use crate::inputs;
use crate::lawful::everything_live_has_a_cause;
use crate::rig::{Rig, answered, value};

const UNDOABLE: &str = "
name: undoable
steps:
  - { name: a, tool: test.noop, compensate: { tool: test.noop } }
  - { name: b, tool: test.noop }
  - { name: c, sleep: 1h }
onFailure:
  - { name: tell, tool: test.noop }
";

const KEYED: &str = "
name: keyed
concurrency: { key: one, limit: 1 }
steps:
  - { name: a, tool: test.noop }
";

impl Rig {
    /// Sets an input aside instead of folding it.
    fn set_aside(&mut self, execution: ExecutionId, kind: InputKind, remedy: Remedy) {
        let input = Input { execution, kind };
        let sequence = self.state.floor() + 1;
        let mut effects = Vec::new();
        let begun = self.state.begin_message(sequence, self.now, &mut effects);
        assert!(begun, "a new message");
        self.state
            .set_aside(0, &input, remedy, "it crashed", &mut effects);
        assert_eq!(self.state.folding(), (sequence, 0));
        self.effects.extend(effects);
        // So that what is sent later has its place in the log.
        self.log.push((
            self.now,
            afu9_schemas::message::InputEnvelope {
                inputs: vec![input],
            },
        ));
        self.marks.push(self.effects.len());
    }

    fn poisoned(&self, id: ExecutionId) {
        let end = self.end(id).expect("it has ended");
        assert_eq!(end.status, ExecutionStatus::Failed);
        assert_eq!(end.error.as_ref().expect("an error").code, POISON);
        assert_eq!(self.state.live(), 0);
        assert!(self.jobs().is_empty());
    }
}

#[test]
fn a_submission_that_is_set_aside_fails_and_says_so() {
    for remedy in [Remedy::Fail, Remedy::End] {
        let mut rig = Rig::new(&[UNDOABLE, KEYED]);
        for name in ["undoable", "keyed"] {
            let id = inputs::drawn(77);
            let start = rig.submission(name, json!({ "n": 1 }));
            rig.set_aside(id, start, remedy);
            rig.poisoned(id);
        }
        // The key is free.
        let id = rig.start("keyed", json!({}));
        rig.work();
        assert_eq!(rig.status(id), ExecutionStatus::Completed);
    }
}

#[test]
fn a_result_that_is_set_aside_fails_its_execution_which_is_undone() {
    let mut rig = Rig::new(&[UNDOABLE]);
    let id = rig.start("undoable", json!({}));
    rig.done(value(1));
    let job = rig.job();
    let poison = inputs::answer(&job, Outcome::Done(value(2)));
    rig.set_aside(id, poison.kind.clone(), Remedy::Fail);
    everything_live_has_a_cause(&mut rig.state);
    // Its second copy changes nothing any more.
    rig.set_aside(id, poison.kind, Remedy::Fail);
    assert_eq!(rig.job().step_name, "a.compensate");
    rig.crash();
    rig.work();
    rig.poisoned(id);
    let ends: Vec<_> = rig.ends(id).iter().map(|end| end.name.clone()).collect();
    assert_eq!(ends, ["a", "b", "c", "a.compensate", "a", "tell"]);
}

#[test]
fn what_is_poison_again_ends_its_execution_at_once() {
    let mut rig = Rig::new(&[UNDOABLE]);
    let id = rig.start("undoable", json!({}));
    rig.done(value(1));
    let job = rig.job();
    let poison = inputs::answer(&job, Outcome::Done(value(2)));
    rig.set_aside(id, poison.kind, Remedy::End);
    rig.poisoned(id);
    rig.crash();
    assert_eq!(rig.state.live(), 0);

    let id = rig.start("undoable", json!({}));
    rig.done(value(1));
    rig.done(value(2));
    let due = rig.state.next_wake().expect("it sleeps");
    rig.set_aside(id, InputKind::Wake { due }, Remedy::End);
    rig.poisoned(id);
}

#[test]
fn while_it_is_undone_poison_ends_it() {
    let mut rig = Rig::new(&[UNDOABLE]);
    let id = rig.start("undoable", json!({}));
    rig.done(value(1));
    let poison = inputs::answer(&rig.job(), Outcome::Done(value(2)));
    rig.set_aside(id, poison.kind, Remedy::Fail);
    let poison = inputs::answer(&rig.job(), Outcome::Done(value(3)));
    rig.set_aside(id, poison.kind, Remedy::Fail);
    rig.poisoned(id);
}

#[test]
fn a_wish_that_is_set_aside_is_refused_and_what_is_ignored_changes_nothing() {
    let mut rig = Rig::new(&[UNDOABLE]);
    let id = rig.start("undoable", json!({}));
    let actions = [
        (id, ControlAction::Pause),
        (ExecutionId::NONE, ControlAction::Hold(HoldScope::All)),
    ];
    for (number, (id, action)) in (1..).zip(actions) {
        let control = inputs::control(number, action);
        rig.set_aside(id, InputKind::Control(Box::new(control)), Remedy::Fail);
        let answer = answered(&rig.effects).expect("an answer");
        assert!(matches!(answer, ControlOutcome::Refused { code, .. } if code == POISON));
        rig.effects.clear();
    }
    let poison = inputs::answer(&rig.job(), Outcome::Done(value(1)));
    rig.set_aside(id, poison.kind, Remedy::Ignore);
    assert!(rig.effects.is_empty());
    assert_eq!(rig.status(id), ExecutionStatus::Running);
}

/// One by one is the same as all at once.
#[test]
fn a_message_is_folded_one_by_one_as_all_at_once() {
    let fold = |one_by_one: bool| {
        let mut rig = Rig::new(&[UNDOABLE, KEYED]);
        let inputs: Vec<Input> = (0..5)
            .map(|number| Input {
                execution: inputs::drawn(number),
                kind: rig.submission(if number < 2 { "undoable" } else { "keyed" }, json!({})),
            })
            .collect();
        if one_by_one {
            let (now, mut effects) = (rig.now, Vec::new());
            assert!(rig.state.begin_message(1, now, &mut effects));
            for (number, input) in (0..).zip(inputs) {
                let definitions = &rig.definitions;
                rig.state.fold_one(number, input, definitions, &mut effects);
            }
            assert!(!rig.state.begin_message(1, now, &mut effects));
            effects
        } else {
            let envelope = afu9_schemas::message::InputEnvelope { inputs };
            let mut effects = Vec::new();
            let definitions = &rig.definitions;
            rig.state
                .fold(1, rig.now, envelope, definitions, &mut effects);
            effects
        }
    };
    assert_eq!(fold(true), fold(false));
}
