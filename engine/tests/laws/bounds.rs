//! What one execution may hold and cost, whatever its data.

use afu9_schemas::Timestamp;
use std::time::Duration;

use afu9_schemas::message::{Input, InputKind, Outcome};
use afu9_schemas::view::{Cause, ExecutionStatus};
use serde_json::{Value, json};

use crate::inputs;
use crate::rig::Rig;

fn text(bytes: usize) -> Value {
    Value::from("x".repeat(bytes))
}

fn checkpoint_bytes(rig: &mut Rig) -> usize {
    let segment = rig.state.take_full();
    serde_json::to_vec(&segment).expect("data").len()
}

#[test]
fn items_with_large_parameters_begin_while_there_is_room_for_them() {
    let mut rig = Rig::new(&["
name: large
steps:
  - { name: each, forEach: \"${input.items}\", maxParallel: 1000, tool: test.echo,
      params: { value: \"${input.blob}\" } }
"]);
    let items: Vec<u32> = (0..200).collect();
    let id = rig.start("large", json!({ "items": items, "blob": text(200_000) }));
    let begun = rig.view(id).steps[0]
        .items
        .as_ref()
        .map(|items| items.in_progress);
    assert!(matches!(begun, Some(30..=60)), "{begun:?}");
    let bytes = checkpoint_bytes(&mut rig);
    assert!(bytes < 12_000_000, "{bytes}");
    while let Some(job) = rig.jobs().first() {
        rig.answer(job, Outcome::Done(json!(1)));
    }
    assert_eq!(rig.status(id), ExecutionStatus::Completed);
}

#[test]
fn ten_thousand_items_may_give_more_than_a_thousand_bytes_each() {
    let mut rig = Rig::new(&["
name: list
steps:
  - { name: each, forEach: \"${input.items}\", maxParallel: 1000, tool: test.echo, params: { value: \"${item.n}\" } }
  - { name: sum, tool: test.echo, params: { value: \"${size(steps.each.output)}\" } }
"]);
    // Together with their outputs they are more than there is room for: what is done is let go.
    let items: Vec<Value> = (0..10_000)
        .map(|n| json!({ "n": n, "more": text(190) }))
        .collect();
    let id = rig.start("list", json!({ "items": items }));
    let output = text(1500);
    loop {
        let jobs = rig.jobs();
        if jobs.len() < 2 {
            break;
        }
        let answer = |job| inputs::answer(job, Outcome::Done(output.clone()));
        rig.send_all(jobs.iter().map(answer).collect());
    }
    assert_eq!(rig.job().params, json!({ "value": 10_000 }));
    rig.work();
    assert_eq!(rig.status(id), ExecutionStatus::Completed);
}

#[test]
fn parameters_that_do_not_fit_fail_their_step() {
    let steps: String = (0..50)
        .map(|n| {
            format!(
                "  - {{ name: s{n}, needs: [], tool: test.echo, params: {{ value: \"${{input.blob}}\" }} }}\n"
            )
        })
        .collect();
    let mut rig = Rig::new(&[&format!("name: wide\nsteps:\n{steps}")]);
    let id = rig.start("wide", json!({ "blob": text(500_000) }));
    let bytes = checkpoint_bytes(&mut rig);
    assert!(bytes < 18_000_000, "{bytes}");
    rig.work();
    let end = rig.end(id).expect("ended");
    let error = end.error.as_ref().expect("failed");
    assert_eq!(error.code, "context.too_large");
}

/// The items of a list are begun over several inputs where their expressions cost much, so that one fold
/// does not keep everybody else waiting.
#[test]
fn a_list_of_costly_items_takes_a_breath() {
    let mut rig = Rig::new(&["
name: join
steps:
  - { name: each, forEach: \"${input.items}\", maxParallel: 10000, tool: test.echo,
      params: { value: \"${input.users.filter(u, u.id == item)[0].name}\" } }
"]);
    let users: Vec<Value> = (0..1000).map(|n| json!({ "id": n, "name": n })).collect();
    let items: Vec<u32> = (0..4000).map(|n| n % 1000).collect();
    let id = rig.start("join", json!({ "items": items, "users": users }));
    let mut folds = 1;
    let all = |rig: &Rig| rig.view(id).steps[0].items.as_ref().map(|i| i.in_progress) == Some(4000);
    while !all(&rig) {
        assert!(!rig.state.explain(id).expect("live").causes.is_empty());
        assert!(
            rig.state
                .prove(100, Timestamp::default())
                .orphans
                .is_empty()
        );
        if folds == 2 {
            rig.crash();
        }
        let before = rig.now;
        rig.wake();
        assert!(
            rig.now.since(before) < Duration::from_secs(1),
            "it is woken at once"
        );
        folds += 1;
    }
    assert!((2..40).contains(&folds), "{folds}");
    let (replayed, floor) = (rig.replay(0, Vec::new()), rig.state.floor());
    assert!(!replayed.is_empty() && floor > 0);
}

/// An output is lent to the items' expressions: copied for each of them, this would take minutes.
#[test]
fn a_large_output_is_not_copied_for_each_item() {
    let mut rig = Rig::new(&["
name: lend
steps:
  - { name: one, tool: test.echo, params: { value: 1 } }
  - { name: each, forEach: \"${range(2000)}\", maxParallel: 2000, tool: test.echo,
      params: { value: \"${steps.one.output[item_index] + size(steps['one'].output)}\" } }
"]);
    let id = rig.start("lend", json!({}));
    let numbers: Vec<u32> = (0..400_000).collect();
    rig.done(json!(numbers));
    let items = rig.view(id).steps[1].items.expect("a list");
    assert_eq!(
        items.in_progress, 2000,
        "in one fold: what is lent costs nothing"
    );
    assert_eq!(rig.jobs()[7].params, json!({ "value": 400_007 }));
    let causes = rig.state.explain(id).expect("live").causes;
    assert!(matches!(causes[0].cause, Cause::Worker { .. }));
}

#[test]
fn signals_are_taken_once_however_many_came_in_between() {
    use afu9_schemas::message::ControlAction;
    let mut rig = Rig::new(&["
name: counted
steps:
  - { name: first, waitFor: { signal: go } }
  - { name: second, waitFor: { signal: go } }
"]);
    let id = rig.start("counted", json!({}));
    let signal = |request: u64, name: &str| Input {
        execution: id,
        kind: InputKind::Control(Box::new(inputs::control(
            request,
            ControlAction::Signal {
                name: name.to_owned(),
                payload: json!(request),
            },
        ))),
    };
    rig.send_all(vec![signal(5000, "go")]);
    for request in 6000..6200 {
        rig.send_all(vec![signal(request, "other")]);
    }
    rig.crash();
    rig.send_all(vec![signal(5000, "go")]);
    assert_eq!(
        rig.status(id),
        ExecutionStatus::Running,
        "it was taken already"
    );
    rig.send_all(vec![signal(5001, "go")]);
    assert_eq!(rig.status(id), ExecutionStatus::Completed);
}
