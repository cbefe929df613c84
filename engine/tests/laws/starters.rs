//! Who has started an execution: whoever began the chain that led to it.

use afu9_engine::Effect;
use afu9_schemas::definition::Decision;
use afu9_schemas::message::{Control, ControlAction, ControlOutcome, InputKind};
use afu9_schemas::{ExecutionId, RequestId};
use serde_json::json;
use uuid::Uuid;

use crate::inputs;
use crate::rig::{Rig, answered};

const RELEASE: &str = "
name: release
steps:
  - { name: agree, approval: { selfApproval: false } }
";

const ASK: &str = "
name: ask
steps:
  - { name: below, workflow: { name: release, wait: false } }
";

/// Starts `name` as `by`, on behalf of `initiator`.
fn start(
    rig: &mut Rig,
    name: &str,
    by: &str,
    initiator: Option<&str>,
) -> (ExecutionId, Vec<Effect>) {
    let InputKind::Start(mut start) = rig.submission(name, json!({})) else {
        panic!("a start")
    };
    by.clone_into(&mut start.trigger.by);
    start.trigger.initiator = initiator.map(str::to_owned);
    let id = inputs::drawn(4711);
    let effects = rig.send(id, InputKind::Start(start));
    (id, effects)
}

fn approve(rig: &mut Rig, id: ExecutionId, by: &str, number: u64) -> ControlOutcome {
    let control = Control {
        request: RequestId::from_uuid(Uuid::from_u128(u128::from(number))),
        by: by.to_owned(),
        ..inputs::control(
            number,
            ControlAction::Decide {
                step: "agree".to_owned(),
                decision: Decision::Approve,
            },
        )
    };
    let effects = rig.send(id, InputKind::Control(Box::new(control)));
    answered(&effects).expect("every wish is answered")
}

/// Neither who began the chain decides, nor who was named instead; anybody else does.
#[test]
fn nobody_decides_what_they_have_started() {
    let cases = [
        ("ann", None, vec!["ann"]),
        ("ann", Some("robot"), vec!["ann", "robot"]),
        ("execution 1", Some("ann"), vec!["ann"]),
    ];
    for (by, initiator, starters) in cases {
        let mut rig = Rig::new(&[RELEASE]);
        let (id, _) = start(&mut rig, "release", by, initiator);
        for (number, starter) in (1..).zip(starters) {
            let outcome = approve(&mut rig, id, starter, number);
            assert!(
                matches!(&outcome, ControlOutcome::Refused { code, .. } if code == "approval.self"),
                "{by} {initiator:?} {starter}: {outcome:?}"
            );
        }
        assert_eq!(approve(&mut rig, id, "bob", 99), ControlOutcome::Applied);
    }
}

/// What an execution starts, by a step or by its end, is told who began it all.
#[test]
fn the_starter_is_passed_on() {
    for (by, initiator) in [("ann", None), ("execution 1", Some("ann"))] {
        let mut rig = Rig::new(&[RELEASE, ASK]);
        let (_, effects) = start(&mut rig, "ask", by, initiator);
        let wanted = effects.iter().find_map(|effect| match effect {
            Effect::Resolve(wanted) => Some(wanted.initiator.as_str()),
            _ => None,
        });
        assert_eq!(wanted, Some("ann"));

        let mut rig = Rig::new(&[RELEASE]);
        rig.state.follow(["release".to_owned()]);
        let (id, _) = start(&mut rig, "release", by, initiator);
        rig.control(id, ControlAction::Cancel);
        let ended = rig.effects.iter().find_map(|effect| match effect {
            Effect::Followed(ended) => Some(ended.initiator.as_str()),
            _ => None,
        });
        assert_eq!(ended, Some("ann"));
    }
}
