//! How far schedules have got: of two who write it, one learns that it was late.

use afu9_broker::kv::{ScheduleState, Swap};
use afu9_schemas::message::{Control, ControlAction, ControlOutcome, ScheduleRef};
use afu9_schemas::{RequestId, ScheduleId, Timestamp};
use anyhow::Result;

use crate::world::World;

fn state(workflow: &str, schedule: &str, through: i64) -> Result<ScheduleState> {
    Ok(ScheduleState {
        workflow: workflow.to_owned(),
        schedule: ScheduleId::new(schedule)?,
        cron: "0 3 * * *".to_owned(),
        timezone: "Europe/Berlin".to_owned(),
        through: Timestamp::from_micros(through),
        fired: None,
        next: Some(Timestamp::from_micros(through + 1)),
        paused: false,
    })
}

fn stored(swap: Swap) -> u64 {
    match swap {
        Swap::Stored(revision) => revision,
        Swap::Lost => panic!("lost a race without a rival"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_taken_forward_by_one_of_two() -> Result<()> {
    let world = World::start().await?;
    let mine = world.broker().await?.schedules().await?;
    let theirs = world.broker().await?.schedules().await?;
    assert_eq!(mine.list().await?, []);
    let first = stored(mine.put(&state("nightly", "a-0", 1)?, 0).await?);
    assert_eq!(
        theirs.put(&state("nightly", "a-0", 1)?, 0).await?,
        Swap::Lost
    );
    let second = stored(theirs.put(&state("nightly", "a-0", 2)?, first).await?);
    let late = mine.put(&state("nightly", "a-0", 1)?, first).await?;
    assert_eq!(late, Swap::Lost);
    assert_eq!(mine.list().await?, [(state("nightly", "a-0", 2)?, second)]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_are_listed_by_workflow_and_can_come_back() -> Result<()> {
    let world = World::start().await?;
    let store = world.broker().await?.schedules().await?;
    let mut revisions = Vec::new();
    for (workflow, schedule) in [("b", "x-0"), ("a", "y-1"), ("a", "y-0")] {
        revisions.push(stored(store.put(&state(workflow, schedule, 1)?, 0).await?));
    }
    let listed = || async {
        let found = store.list().await?;
        let names = found
            .into_iter()
            .map(|(state, _)| (state.workflow, state.schedule));
        let names = names.map(|(workflow, schedule)| format!("{workflow} {schedule}"));
        Ok::<_, anyhow::Error>(names.collect::<Vec<_>>())
    };
    assert_eq!(listed().await?, ["a y-0", "a y-1", "b x-0"]);
    let gone = ScheduleId::new("y-1")?;
    store.remove("a", &gone, revisions[1] + 100).await?;
    assert_eq!(listed().await?.len(), 3, "somebody else has changed it");
    store.remove("a", &gone, revisions[1]).await?;
    store.remove("a", &gone, revisions[1]).await?;
    assert_eq!(listed().await?, ["a y-0", "b x-0"]);
    stored(store.put(&state("a", "y-1", 3)?, 0).await?);
    assert_eq!(listed().await?.len(), 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_told_and_stays_until_it_is_taken_back() -> Result<()> {
    let world = World::start().await?;
    let (mine, theirs) = (world.broker().await?, world.broker().await?);
    let (mine, theirs) = (mine.schedules().await?, theirs.schedules().await?);
    let of = ScheduleRef {
        workflow: "nightly".to_owned(),
        schedule: ScheduleId::new("a-0")?,
    };
    let mut watch = mine.follow_pauses().await?;
    let revision = stored(mine.put(&state("nightly", "a-0", 1)?, 0).await?);
    let (first, second) = (switching(&of), switching(&of));
    let now = Timestamp::from_micros(7);
    let (paused, outcome) = theirs.switch(&of, true, &first, now).await?;
    assert_eq!(outcome, ControlOutcome::Applied);
    assert_eq!(Some(watch.next().await?), paused);
    assert_eq!(mine.pauses().await?, [paused.clone().expect("stored")]);
    // Neither who runs the schedule nor its end touches it.
    let revision = stored(mine.put(&state("nightly", "a-0", 2)?, revision).await?);
    assert_eq!(mine.list().await?.len(), 1, "a pause is no schedule");
    mine.remove("nightly", &of.schedule, revision).await?;
    assert_eq!(mine.pause_of(&of).await?, paused);
    let (_, outcome) = mine.switch(&of, true, &second, now).await?;
    assert_eq!(outcome, ControlOutcome::Unchanged, "it is paused");
    let (_, outcome) = mine.switch(&of, false, &second, now).await?;
    assert_eq!(outcome, ControlOutcome::Applied);
    let (resumed, outcome) = theirs.switch(&of, true, &first, now).await?;
    assert_eq!(outcome, ControlOutcome::Unchanged, "the wish of before");
    assert_eq!(resumed.map(|resumed| resumed.paused), Some(false));
    assert!(!watch.next().await?.paused);
    Ok(())
}

fn switching(of: &ScheduleRef) -> Control {
    Control {
        request: RequestId::new(),
        by: "ada".to_owned(),
        scopes: Vec::new(),
        reason: None,
        reply_to: None,
        content: None,
        action: ControlAction::PauseSchedule(of.clone()),
    }
}
