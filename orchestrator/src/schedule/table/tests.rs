//! What a new version, a pause and a definition that is gone mean for how far a schedule has got.

use std::time::Duration;

use afu9_schemas::definition::{self, ReadOptions};
use afu9_schemas::message::{DefinitionRecord, HoldScope, ScheduleRef, Switched, WorkflowRef};
use afu9_schemas::view::{HoldView, PauseView};
use afu9_schemas::{Timestamp, WorkflowId};

use super::*;

const ENOUGH: u64 = 100;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).expect(text)
}

fn found(name: &str, triggers: &str) -> Arc<Found> {
    let source = format!("name: {name}\non: {triggers}\nsteps: [{{ name: a, tool: test.noop }}]\n");
    let options = ReadOptions { name: Some(name) };
    let compiled = afu9_engine::workflow::compile(&source, options).expect("valid");
    Arc::new(Found {
        record: DefinitionRecord {
            workflow: WorkflowRef {
                id: WorkflowId::new(),
                name: name.to_owned(),
                version: 1,
                hash: definition::hash(&compiled.value),
            },
            definition: compiled.value,
            enabled: true,
            applied_at: Timestamp::from_micros(0),
            applied_by: "test".to_owned(),
            switched: None,
        },
        workflow: Arc::new(compiled.workflow),
    })
}

/// Stores every change, and returns what was stored.
fn store(table: &mut Table) -> Vec<Change> {
    let changes = table.changes();
    for change in &changes {
        table.stored(change, change.revision + 1);
    }
    assert_eq!(table.changes(), [], "stored once");
    changes
}

/// What is due is started, and told as the instants.
fn run(table: &mut Table, now: Timestamp) -> Vec<String> {
    let mut instants = Vec::new();
    for (key, _, plan) in table.due(now, ENOUGH, &Held::default()) {
        instants.extend(plan.fire.iter().map(|firing| firing.at.to_string()));
        table.done(&key, &plan);
    }
    instants
}

const NIGHTLY: &str = "[{ schedule: { cron: '0 3 * * *' } }]";
const PAUSED: &str = "[{ schedule: { cron: '0 3 * * *', paused: true } }]";

#[test]
fn a_schedule_begins_when_it_is_first_seen() {
    let mut table = Table::default();
    let seen = at("2026-01-01T12:00:00Z");
    table.follow(vec![found("nightly", NIGHTLY)], seen);
    let due = at("2026-01-02T03:00:00Z");
    assert_eq!(
        (table.ruled(), table.wake(&Held::default())),
        (1, Some(due))
    );
    let changes = store(&mut table);
    assert_eq!((changes.len(), changes[0].revision), (1, 0));
    let state = changes[0].state.clone().expect("stored");
    assert_eq!(
        (state.through, state.fired, state.next),
        (seen, None, Some(due))
    );
    assert_eq!(
        table
            .due(at("2026-01-02T02:59:59Z"), ENOUGH, &Held::default())
            .len(),
        0
    );
    assert_eq!(run(&mut table, due), ["2026-01-02T03:00:00.000Z"]);
    let state = store(&mut table)[0].state.clone().expect("stored");
    assert_eq!((state.through, state.fired), (due, Some(due)));
    assert_eq!(
        (state.next, table.wake(&Held::default())),
        (Some(at("2026-01-03T03:00:00Z")), state.next)
    );
    // Another process finds it.
    let mut other = Table::new(vec![(state, 2)]);
    other.follow(vec![found("nightly", NIGHTLY)], at("2026-01-02T03:00:01Z"));
    assert_eq!(other.changes(), [], "nothing new");
    assert_eq!(run(&mut other, at("2026-01-02T03:00:02Z")), [""; 0]);
}

#[test]
fn a_new_version_that_says_the_same_of_the_schedule_changes_nothing() {
    let mut table = Table::default();
    table.follow(vec![found("nightly", NIGHTLY)], at("2026-01-01T12:00:00Z"));
    store(&mut table);
    let version =
        "[{ schedule: { cron: '0 4 * * *' } }, { schedule: { cron: '0 3 * * *', missed: all } }]";
    table.follow(vec![found("nightly", version)], at("2026-01-02T03:00:30Z"));
    assert_eq!(
        run(&mut table, at("2026-01-02T04:00:00Z")),
        ["2026-01-02T03:00:00.000Z", "2026-01-02T04:00:00.000Z"],
        "what was due when the version came is started by the new one"
    );
}

#[test]
fn a_paused_schedule_starts_nothing_and_misses_nothing() {
    let mut table = Table::default();
    table.follow(vec![found("nightly", NIGHTLY)], at("2026-01-01T12:00:00Z"));
    store(&mut table);
    table.follow(vec![found("nightly", PAUSED)], at("2026-01-01T13:00:00Z"));
    let state = store(&mut table)[0].state.clone().expect("stored");
    assert_eq!(
        (state.paused, state.next, table.wake(&Held::default())),
        (true, None, None)
    );
    assert_eq!(run(&mut table, at("2026-01-05T00:00:00Z")), [""; 0]);
    // Another process, days later.
    let mut table = Table::new(vec![(state, 2)]);
    let now = at("2026-01-05T12:00:00Z");
    table.follow(vec![found("nightly", NIGHTLY)], now);
    assert_eq!(run(&mut table, now), [""; 0]);
    assert_eq!(
        table.wake(&Held::default()),
        Some(at("2026-01-06T03:00:00Z"))
    );
    let state = store(&mut table)[0].state.clone().expect("stored");
    assert_eq!((state.paused, state.through), (false, now));
}

#[test]
fn a_schedule_that_no_definition_has_is_removed_and_begins_anew() {
    let mut table = Table::default();
    table.follow(vec![found("nightly", NIGHTLY)], at("2026-01-01T12:00:00Z"));
    store(&mut table);
    let mut disabled = Arc::unwrap_or_clone(found("nightly", NIGHTLY));
    disabled.record.enabled = false;
    table.follow(vec![Arc::new(disabled)], at("2026-01-01T13:00:00Z"));
    assert_eq!((table.ruled(), table.wake(&Held::default())), (0, None));
    let changes = store(&mut table);
    assert_eq!((&changes[0].state, changes[0].revision), (&None, 1));
    let now = at("2026-01-05T12:00:00Z");
    table.follow(vec![found("nightly", NIGHTLY)], now);
    assert_eq!(run(&mut table, now), [""; 0], "nothing of the days between");
    let begun = store(&mut table)[0].state.clone().expect("stored");
    assert_eq!(begun.through, now);
}

#[test]
fn a_definition_that_cannot_be_read_keeps_its_schedules() {
    let mut table = Table::default();
    table.follow(vec![found("nightly", NIGHTLY)], at("2026-01-01T12:00:00Z"));
    let state = store(&mut table)[0].state.clone().expect("stored");
    // A version of a newer build: not among those this one can read.
    table.follow(vec![found("other", "[]")], at("2026-01-01T13:00:00Z"));
    assert_eq!((table.ruled(), table.changes()), (0, Vec::new()));
    assert_eq!(run(&mut table, at("2026-01-02T04:00:00Z")), [""; 0]);
    let mut newer = Table::new(vec![(state, 1)]);
    newer.follow(vec![found("nightly", NIGHTLY)], at("2026-01-02T05:00:00Z"));
    assert_eq!(
        run(&mut newer, at("2026-01-02T05:00:00Z")),
        ["2026-01-02T03:00:00.000Z"]
    );
}

#[test]
fn a_turn_is_bounded_and_takes_what_has_waited_longest() {
    let mut table = Table::default();
    let every_minute = "[{ schedule: { cron: '* * * * *', missed: all } }]";
    let every_hour = "[{ schedule: { cron: '0 * * * *', missed: all } }]";
    let begin = at("2026-01-01T00:00:00Z");
    table.follow(
        vec![found("a", every_hour), found("b", every_minute)],
        begin,
    );
    let now = begin.plus(Duration::from_secs(3600));
    let first = table.due(now, 1, &Held::default());
    assert_eq!(first.len(), 1);
    assert_eq!((first[0].0.0.as_str(), first[0].2.fire.len()), ("b", 60));
    table.done(&first[0].0, &first[0].2);
    assert_eq!(table.wake(&Held::default()), Some(now), "at once");
    let second = table.due(now, 1, &Held::default());
    assert_eq!((second.len(), second[0].0.0.as_str()), (1, "a"));
}

#[test]
fn what_is_held_stands_still_and_is_late_at_the_release() {
    const EVERY_SECOND: &str = "[{ schedule: { cron: '* * * * * *', missed: skip } }]";
    let hold = |scope| HoldView {
        scope,
        pause: PauseView {
            by: "test".to_owned(),
            reason: None,
            at: Timestamp::from_micros(0),
        },
    };
    let mut table = Table::default();
    let begin = at("2026-01-02T12:00:00Z");
    table.follow(vec![found("often", EVERY_SECOND)], begin);
    let monday = at("2026-01-05T12:00:00Z");
    for scope in [HoldScope::All, HoldScope::Workflow("often".to_owned())] {
        let held = Held::new(&[hold(scope)]);
        assert_eq!(table.due(monday, ENOUGH, &held).len(), 0);
        assert_eq!(table.wake(&held), None);
    }
    let elsewhere = Held::new(&[
        hold(HoldScope::Workflow("other".to_owned())),
        hold(HoldScope::Kind("test".parse().expect("valid"))),
    ]);
    assert_eq!(table.wake(&elsewhere), Some(at("2026-01-02T12:00:01Z")));
    assert_eq!(
        run(&mut table, monday).len(),
        61,
        "the last minute, not three days"
    );
}

/// Also where everything that was missed is passed over: finding out how much takes its time.
#[test]
fn a_turn_deals_with_few_schedules_that_missed_much() {
    const EVERY_SECOND: &str = "[{ schedule: { cron: '* * * * * *', missed: skip } }]";
    let mut table = Table::default();
    let many = (0..50).map(|n| found(&format!("often_{n}"), EVERY_SECOND));
    table.follow(many.collect(), at("2026-01-02T12:00:00Z"));
    let now = at("2026-01-05T12:00:00Z");
    let mut turns = 0;
    while table.wake(&Held::default()).is_some_and(|wake| wake <= now) {
        let due = table.due(now, ENOUGH, &Held::default());
        assert_eq!(due.len(), 1);
        for (key, _, plan) in due {
            table.done(&key, &plan);
        }
        turns += 1;
    }
    assert_eq!(turns, 50);
}

fn wished(key: &Key, paused: bool, at: Timestamp) -> SchedulePause {
    SchedulePause {
        of: ScheduleRef {
            workflow: key.0.clone(),
            schedule: key.1.clone(),
        },
        paused,
        last: switched(at),
    }
}

fn switched(at: Timestamp) -> Switched {
    Switched {
        by: "ada".to_owned(),
        reason: None,
        at,
        requests: Vec::new(),
    }
}

#[test]
fn what_people_pause_stays_so_whatever_definitions_say() {
    let mut table = Table::default();
    table.follow(vec![found("nightly", NIGHTLY)], at("2026-01-01T12:00:00Z"));
    let key = store(&mut table)[0].key.clone();
    table.note_pauses([wished(&key, true, at("2026-01-01T13:00:00Z"))]);
    table.follow(vec![found("nightly", NIGHTLY)], at("2026-01-01T13:00:01Z"));
    let state = store(&mut table)[0].state.clone().expect("stored");
    assert_eq!(
        (state.paused, state.next, table.wake(&Held::default())),
        (true, None, None)
    );
    // Versions with and without a pause of their own.
    table.follow(vec![found("nightly", PAUSED)], at("2026-01-02T12:00:00Z"));
    table.follow(vec![found("nightly", NIGHTLY)], at("2026-01-03T12:00:00Z"));
    assert_eq!(run(&mut table, at("2026-01-05T00:00:00Z")), [""; 0]);
    table.note_pauses([wished(&key, false, at("2026-01-05T12:00:00Z"))]);
    table.follow(vec![found("nightly", PAUSED)], at("2026-01-05T12:00:00Z"));
    assert_eq!(
        table.wake(&Held::default()),
        None,
        "the definition's own pause is another"
    );
    let now = at("2026-01-05T13:00:00Z");
    table.follow(vec![found("nightly", NIGHTLY)], now);
    assert_eq!(run(&mut table, now), [""; 0]);
    assert_eq!(
        table.wake(&Held::default()),
        Some(at("2026-01-06T03:00:00Z"))
    );
}

#[test]
fn what_came_due_in_a_pause_that_nobody_saw_is_not_made_up() {
    let every_day = "[{ schedule: { cron: '0 3 * * *', missed: all } }]";
    let mut table = Table::default();
    table.follow(vec![found("daily", every_day)], at("2026-01-01T12:00:00Z"));
    let state = store(&mut table)[0].state.clone().expect("stored");
    let key = (state.workflow.clone(), state.schedule.clone());
    let (resumed, now) = (at("2026-01-05T12:00:00Z"), at("2026-01-06T12:00:00Z"));
    // Paused and resumed while no process ran the schedules.
    let mut other = Table::new(vec![(state.clone(), 1)]);
    other.note_pauses([wished(&key, false, resumed)]);
    other.follow(vec![found("daily", every_day)], now);
    assert_eq!(run(&mut other, now), ["2026-01-06T03:00:00.000Z"]);
    // Its workflow disabled and enabled.
    let mut enabled = found("daily", every_day);
    Arc::get_mut(&mut enabled)
        .expect("not shared")
        .record
        .switched = Some(switched(resumed));
    let mut other = Table::new(vec![(state, 1)]);
    other.follow(vec![enabled], now);
    assert_eq!(run(&mut other, now), ["2026-01-06T03:00:00.000Z"]);
}
