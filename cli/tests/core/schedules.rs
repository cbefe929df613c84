//! Schedules on a real nats-server: each instant starts one execution, whoever runs the schedules, and
//! after an outage what the rule asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use afu9_broker::kv::{ScheduleState, Swap};
use afu9_engine::schedule::MAX_CATCH_UP;
use afu9_schemas::message::{HistoryKind, HoldScope, TriggerKind};
use afu9_schemas::{ExecutionId, Timestamp};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::time::Instant;

use crate::world::World;

/// Far longer than anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a wait sleeps before it looks again.
const POLL: Duration = Duration::from_millis(20);

const HOUR: Duration = Duration::from_secs(3600);

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

fn ago(time: Duration) -> Timestamp {
    let micros = i64::try_from(time.as_micros()).expect("not so long");
    Timestamp::from_micros(now().as_micros() - micros)
}

/// Waits until `probe` gives a value.
async fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match probe() {
            Some(value) => return Ok(value),
            None if Instant::now() > deadline => bail!("waited {PATIENCE:?} for {what}"),
            None => tokio::time::sleep(POLL).await,
        }
    }
}

/// A workflow with one schedule, whose executions have their instant as input.
fn definition(name: &str, schedule: &str) -> String {
    format!(
        "name: {name}\n\
         on: [{{ schedule: {{ {schedule}, input: {{ at: '${{schedule.at}}' }} }} }}]\n\
         steps: [{{ name: a, tool: test.noop }}]\n"
    )
}

/// The executions that schedules of a workflow have started, with their instants.
fn started(world: &World, workflow: &str) -> BTreeMap<ExecutionId, Timestamp> {
    let begun = world.events_as(|event| match &event.kind {
        HistoryKind::ExecutionStarted(started) if started.workflow.name == workflow => {
            assert_eq!(started.trigger.kind, TriggerKind::Schedule);
            let at = started.input["at"].as_str().and_then(Timestamp::parse);
            Some((event.execution?, at.expect("an instant")))
        }
        _ => None,
    });
    begun.into_iter().collect()
}

/// Instants that were started, each of them once.
fn instants(world: &World, workflow: &str) -> BTreeSet<Timestamp> {
    let started = started(world, workflow);
    let instants: BTreeSet<Timestamp> = started.values().copied().collect();
    assert_eq!(instants.len(), started.len(), "one execution for each");
    instants
}

/// At least `count` instants, one a second and none of them missing: partitions that change hands tell
/// of theirs later than others.
fn one_a_second(world: &World, workflow: &str, count: usize) -> Option<()> {
    let all: Vec<Timestamp> = instants(world, workflow).into_iter().collect();
    let gapless = all
        .windows(2)
        .all(|pair| pair[1].since(pair[0]) == Duration::from_secs(1));
    (gapless && all.len() >= count).then_some(())
}

fn assert_every(period: Duration, instants: &BTreeSet<Timestamp>) {
    let all: Vec<&Timestamp> = instants.iter().collect();
    for pair in all.windows(2) {
        assert_eq!(pair[1].since(*pair[0]), period, "{instants:?}");
    }
}

/// The stored state of the one schedule of each workflow.
async fn states(world: &World) -> Result<BTreeMap<String, (ScheduleState, u64)>> {
    let stored = world.broker().schedules().await?.list().await?;
    let states = stored
        .into_iter()
        .map(|(state, revision)| (state.workflow.clone(), (state, revision)));
    Ok(states.collect())
}

/// Waits until the state of a workflow's schedule is as `so` says.
async fn state_when(
    world: &World,
    workflow: &str,
    so: impl Fn(&ScheduleState) -> bool,
) -> Result<ScheduleState> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = states(world).await?.remove(workflow);
        match found {
            Some((state, _)) if so(&state) => return Ok(state),
            found if Instant::now() > deadline => bail!("the schedule of {workflow} is {found:?}"),
            _ => tokio::time::sleep(POLL).await,
        }
    }
}

/// Makes a schedule one that nobody has run since `through`.
async fn set_back(world: &World, workflow: &str, through: Timestamp) -> Result<()> {
    let found = states(world).await?.remove(workflow);
    let (state, revision) = found.with_context(|| format!("{workflow} has a schedule"))?;
    let state = ScheduleState { through, ..state };
    let store = world.broker().schedules().await?;
    let swap = store.put(&state, revision).await?;
    ensure!(matches!(swap, Swap::Stored(_)), "somebody else writes it");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_second_starts_one_execution_whoever_runs_the_schedules() -> Result<()> {
    let world = World::start().await?;
    let worker = world.worker();
    let first = world.orchestrator();
    // The time zone does not matter, but is looked up.
    let schedule = "cron: '* * * * * *', timezone: Europe/Berlin, missed: skip";
    world.apply(&definition("ticks", schedule)).await?;
    until("the first instants", || {
        (instants(&world, "ticks").len() >= 3).then_some(())
    })
    .await?;
    // Aborted in the middle: its lease has to expire, and what it started may not be on record.
    first.abort().await;
    let before = instants(&world, "ticks");
    let second = world.orchestrator();
    until("instants of the second one", || {
        one_a_second(&world, "ticks", before.len() + 8)
    })
    .await?;
    let stats = second.stats();
    assert_eq!((stats.schedules, stats.schedules_skipped), (1, 0));
    assert_eq!(stats.schedules_caught_up, 0, "a restart is on time");
    // Given back this time.
    second.stop().await?;
    let before = instants(&world, "ticks");
    let third = world.orchestrator();
    until("instants of the third one", || {
        one_a_second(&world, "ticks", before.len() + 3)
    })
    .await?;
    let state = state_when(&world, "ticks", |state| state.fired.is_some()).await?;
    assert_eq!(state.fired, Some(state.through));
    assert!(state.next > state.fired);
    third.stop().await?;
    worker.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_a_rule_starts_nothing_one_or_all() -> Result<()> {
    let world = World::start().await?;
    let worker = world.worker();
    // Half an hour from now, so that no instant is on time.
    let minute = (now().as_millis() / 60_000 + 30) % 60;
    for missed in ["skip", "one", "all"] {
        let schedule = format!("cron: '{minute} * * * *', missed: {missed}");
        world.apply(&definition(missed, &schedule)).await?;
    }
    let schedule = "cron: '*/2 * * * *', missed: all".to_owned();
    world.apply(&definition("very_many", &schedule)).await?;
    let first = world.orchestrator();
    for workflow in ["skip", "one", "all", "very_many"] {
        state_when(&world, workflow, |_| true).await?;
    }
    first.stop().await?;
    let (outage, long_outage) = (ago(HOUR * 5), ago(HOUR * 24));
    for workflow in ["skip", "one", "all"] {
        set_back(&world, workflow, outage).await?;
    }
    set_back(&world, "very_many", long_outage).await?;

    let second = world.orchestrator();
    for workflow in ["skip", "one", "all", "very_many"] {
        state_when(&world, workflow, |state| state.through > ago(HOUR)).await?;
    }
    let enough = || {
        let all = instants(&world, "all").len() == 5;
        (all && instants(&world, "very_many").len() >= MAX_CATCH_UP).then_some(())
    };
    until("what was missed", enough).await?;
    let all = instants(&world, "all");
    assert_every(HOUR, &all);
    until("the latest", || {
        (instants(&world, "one").len() == 1).then_some(())
    })
    .await?;
    assert_eq!(instants(&world, "one").first(), all.last());
    assert_eq!(instants(&world, "skip").len(), 0);
    // The newest, and one that was on time, if there was one.
    let very_many = instants(&world, "very_many");
    assert_every(Duration::from_secs(120), &very_many);
    assert!(very_many.len() <= MAX_CATCH_UP + 2, "{}", very_many.len());
    let stats = second.stats();
    assert_eq!(stats.schedules, 4);
    assert!(
        stats.schedules_caught_up >= 6 + MAX_CATCH_UP as u64,
        "{stats:?}"
    );
    assert!(stats.schedules_skipped >= 9 + 600, "{stats:?}");
    // Until their ends, so that only tombstones are left of them.
    world
        .wait_for_ends(&started(&world, "all").into_keys().collect::<Vec<_>>())
        .await?;
    second.stop().await?;

    // As if the second one had died before it stored how far it had got.
    set_back(&world, "all", outage).await?;
    let third = world.orchestrator();
    until("repeated submissions", || {
        (third.stats().duplicate_starts >= 5).then_some(())
    })
    .await?;
    state_when(&world, "all", |state| state.through > ago(HOUR)).await?;
    assert_eq!(instants(&world, "all"), all);
    assert_eq!(instants(&world, "one").len(), 1);
    world.assert_history_is_gapless();
    third.stop().await?;
    worker.stop().await?;
    Ok(())
}

/// Otherwise a weekend's worth of executions begins at the release.
#[tokio::test(flavor = "multi_thread")]
async fn a_held_workflow_is_not_started_by_its_schedule() -> Result<()> {
    let world = World::start().await?;
    let worker = world.worker();
    let first = world.orchestrator();
    let schedule = "cron: '* * * * * *', missed: skip";
    world.apply(&definition("ticks", schedule)).await?;
    world.apply(&definition("clock", schedule)).await?;
    until("the first instants", || {
        (!instants(&world, "ticks").is_empty()).then_some(())
    })
    .await?;
    let hold = HoldScope::Workflow("ticks".to_owned());
    world.hold(&hold).await?;
    let passed = |than: Timestamp| {
        let last = instants(&world, "clock").last().copied();
        last.is_some_and(|last| last > than.plus(Duration::from_secs(2)))
            .then_some(())
    };
    // What was on its way when it was held.
    let held = now();
    until("time to pass", || passed(held)).await?;
    let begun = instants(&world, "ticks");
    first.stop().await?;
    // As if it had been held for a day: whoever takes over knows of the hold.
    set_back(&world, "ticks", ago(HOUR * 24)).await?;
    let second = world.orchestrator();
    let taken_over = now();
    until("time to pass", || passed(taken_over)).await?;
    assert_eq!(instants(&world, "ticks"), begun);
    world.release(&hold).await?;
    until("it to go on", || {
        (instants(&world, "ticks").len() > begun.len()).then_some(())
    })
    .await?;
    state_when(&world, "ticks", |state| state.through > taken_over).await?;
    let oldest = instants(&world, "ticks").difference(&begun).next().copied();
    assert!(
        oldest.is_some_and(|at| at > ago(Duration::from_secs(180))),
        "{oldest:?}"
    );
    second.stop().await?;
    worker.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_schedule_starts_nothing_and_goes_on_from_now() -> Result<()> {
    let world = World::start().await?;
    let worker = world.worker();
    let orchestrator = world.orchestrator();
    let schedule = "cron: '* * * * * *', missed: all";
    world.apply(&definition("ticks", schedule)).await?;
    until("the first instants", || {
        (instants(&world, "ticks").len() >= 2).then_some(())
    })
    .await?;
    world
        .apply(&definition("ticks", &format!("{schedule}, paused: true")))
        .await?;
    let paused = state_when(&world, "ticks", |state| state.paused).await?;
    assert_eq!(paused.next, None);
    // Another schedule tells that time passes.
    world.apply(&definition("clock", schedule)).await?;
    until("time to pass", || {
        (instants(&world, "clock").len() >= 4).then_some(())
    })
    .await?;
    assert_eq!(instants(&world, "ticks").last(), Some(&paused.through));
    world.apply(&definition("ticks", schedule)).await?;
    let passed = paused.through.plus(Duration::from_secs(3));
    let later = || {
        instants(&world, "ticks")
            .last()
            .is_some_and(|last| *last > passed)
            .then_some(())
    };
    until("it to go on", later).await?;
    let between = instants(&world, "ticks")
        .into_iter()
        .filter(|at| *at > paused.through && *at <= passed);
    assert_eq!(between.count(), 0);
    // A workflow that has no schedule any more.
    world
        .apply("name: ticks\nsteps: [{ name: a, tool: test.noop }]\n")
        .await?;
    until("one schedule to be left", || {
        (orchestrator.stats().schedules == 1).then_some(())
    })
    .await?;
    orchestrator.stop().await?;
    assert_eq!(
        states(&world).await?.into_keys().collect::<Vec<_>>(),
        ["clock"]
    );
    worker.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn people_see_schedules_and_pause_them() -> Result<()> {
    let world = World::start().await?;
    let worker = world.worker();
    let first = world.orchestrator();
    let desk = world.desk().await?;
    let source = definition("ticks", "cron: '* * * * * *', missed: all");
    desk.apply(&source).await?;
    desk.apply(&definition("clock", "cron: '* * * * * *', missed: all"))
        .await?;
    until("the first instants", || {
        (instants(&world, "ticks").len() >= 2).then_some(())
    })
    .await?;
    let list = ["schedules", "--workflow", "ticks"];
    let so = |found: &Value| found["schedules"][0]["lastFired"].is_string();
    let found = desk.json_when(&list, so).await?;
    let schedule = &found["schedules"][0];
    ensure!(schedule["next"].is_string(), "{found}");
    ensure!(schedule["missed"] == "all", "{found}");

    desk.text(0, &["schedules", "pause", "ticks", "--reason", "holiday"])
        .await?;
    let paused = state_when(&world, "ticks", |state| state.paused).await?;
    ensure!(paused.next.is_none(), "{paused:?}");
    let table = desk.text(0, &["schedules"]).await?;
    ensure!(table.contains("ada (holiday)"), "{table}");
    // A new version, another process, and time: nothing of it starts the schedule.
    desk.apply(&source.replace("test.noop", "test.echo, params: { value: 1 }"))
        .await?;
    first.abort().await;
    let second = world.orchestrator();
    let clock = instants(&world, "clock").len();
    until("time to pass", || {
        (instants(&world, "clock").len() >= clock + 4).then_some(())
    })
    .await?;
    let last = instants(&world, "ticks").last().copied();
    ensure!(last <= Some(paused.through), "it was paused: {last:?}");
    let state = state_when(&world, "ticks", |_| true).await?;
    ensure!(state.paused, "{state:?}");

    // Resumed while nobody runs the schedules: what came due in the pause is not made up.
    second.stop().await?;
    let id = schedule["schedule"].as_str().context("an id")?;
    desk.text(0, &["schedules", "resume", "ticks", id]).await?;
    let resumed = now();
    let third = world.orchestrator();
    let since_the_pause = || {
        let all = instants(&world, "ticks");
        all.range(paused.through.plus(Duration::from_micros(1))..)
            .copied()
            .collect::<Vec<_>>()
    };
    until("it to go on", || {
        (since_the_pause().len() >= 2).then_some(())
    })
    .await?;
    // The gateway's clock stood a moment before this one's look at it.
    let earliest = Timestamp::from_micros(resumed.as_micros() - 1_000_000);
    let made_up = since_the_pause().into_iter().find(|at| *at < earliest);
    ensure!(made_up.is_none(), "{made_up:?}");

    // A disabled workflow's schedule starts nothing either.
    desk.text(0, &["workflows", "disable", "ticks"]).await?;
    until("one schedule to be left", || {
        (third.stats().schedules == 1).then_some(())
    })
    .await?;
    let table = desk.text(0, &["schedules", "--workflow", "ticks"]).await?;
    ensure!(table.contains("disabled"), "{table}");
    let (disabled, clock) = (now(), instants(&world, "clock").len());
    until("time to pass", || {
        (instants(&world, "clock").len() >= clock + 3).then_some(())
    })
    .await?;
    let last = instants(&world, "ticks").last().copied();
    ensure!(last <= Some(disabled), "it was disabled: {last:?}");
    desk.text(0, &["workflows", "enable", "ticks"]).await?;
    until("it to go on", || {
        let last = instants(&world, "ticks").last().copied();
        (last > Some(disabled)).then_some(())
    })
    .await?;
    desk.text(1, &["schedules", "pause", "nothing"]).await?;
    desk.close().await?;
    third.stop().await?;
    worker.stop().await
}
