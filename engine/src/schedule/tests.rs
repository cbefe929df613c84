//! What is started, what is not, and that no crash or second plan starts anything twice.

use std::collections::{BTreeMap, BTreeSet};

use afu9_schemas::definition::AfterTrigger;
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).expect(text)
}

fn rule(cron: &str, missed: MissedRuns, jitter: Duration) -> ScheduleTrigger {
    ScheduleTrigger {
        cron: cron.to_owned(),
        timezone: "Europe/Berlin".to_owned(),
        missed,
        jitter,
        paused: false,
        input: None,
    }
}

fn schedule(cron: &str, missed: MissedRuns, jitter: Duration) -> Schedule {
    let id = ScheduleId::new("one").expect("a valid id");
    Schedule::new("nightly", id, &rule(cron, missed, jitter)).expect("valid")
}

fn started(plan: &Plan) -> Vec<String> {
    let tell = |firing: &Firing| {
        format!(
            "{}{}",
            firing.at,
            if firing.missed { " missed" } else { "" }
        )
    };
    plan.fire.iter().map(tell).collect()
}

#[test]
fn an_instant_is_started_when_it_comes_and_never_again() {
    let schedule = schedule("0 3 * * *", MissedRuns::Skip, Duration::ZERO);
    let seen = at("2026-01-01T12:00:00Z");
    let due = at("2026-01-02T02:00:00Z");
    let early = schedule.plan(seen, before(due));
    assert!(early.fire.is_empty());
    assert_eq!(early.through, seen);
    assert_eq!(schedule.next_after(seen), Some(Next { at: due, due }));
    let plan = schedule.plan(seen, due);
    assert_eq!(started(&plan), ["2026-01-02T02:00:00.000Z"]);
    assert_eq!((plan.through, plan.skipped), (due, 0));
    let again = schedule.plan(plan.through, due);
    assert_eq!((again.fire, again.through), (Vec::new(), due));
}

/// Hourly, up to 02:00; then nobody was there until a while after 07:00.
#[test]
fn missed_instants_are_skipped_started_as_one_or_all_started() {
    let through = at("2026-01-02T02:00:00Z");
    let now = at("2026-01-02T07:20:00Z");
    let cases: [(_, &[&str], _); 3] = [
        (MissedRuns::Skip, &[], 5),
        (MissedRuns::One, &["07"], 4),
        (MissedRuns::All, &["03", "04", "05", "06", "07"], 0),
    ];
    for (missed, expected, skipped) in cases {
        let schedule = schedule("0 * * * *", missed, Duration::ZERO);
        let plan = schedule.plan(through, now);
        let expected: Vec<String> = expected
            .iter()
            .map(|hour| format!("2026-01-02T{hour}:00:00.000Z missed"))
            .collect();
        assert_eq!(started(&plan), expected, "{missed:?}");
        assert_eq!(plan.skipped, skipped, "{missed:?}");
        assert_eq!(plan.through, at("2026-01-02T07:00:00Z"), "{missed:?}");
        assert_eq!(
            schedule.next_after(plan.through).map(|next| next.at),
            Some(at("2026-01-02T08:00:00Z"))
        );
    }
}

#[test]
fn what_is_at_most_the_grace_late_is_on_time_whatever_the_rule_says() {
    let through = at("2026-01-02T02:00:00Z");
    let now = at("2026-01-02T07:00:00Z").plus(GRACE);
    let cases: [(_, &[&str]); 3] = [
        (MissedRuns::Skip, &["07:00:00.000Z"]),
        (MissedRuns::One, &["06:00:00.000Z missed", "07:00:00.000Z"]),
        (
            MissedRuns::All,
            &[
                "03:00:00.000Z missed",
                "04:00:00.000Z missed",
                "05:00:00.000Z missed",
                "06:00:00.000Z missed",
                "07:00:00.000Z",
            ],
        ),
    ];
    for (missed, expected) in cases {
        let plan = schedule("0 * * * *", missed, Duration::ZERO).plan(through, now);
        let expected: Vec<String> = expected
            .iter()
            .map(|text| format!("2026-01-02T{text}"))
            .collect();
        assert_eq!(started(&plan), expected, "{missed:?}");
    }
    let later = now.plus(Duration::from_micros(1));
    let plan = schedule("0 * * * *", MissedRuns::Skip, Duration::ZERO).plan(through, later);
    assert_eq!((started(&plan), plan.skipped), (Vec::new(), 5));
}

#[test]
fn of_very_many_missed_instants_the_newest_are_started() {
    let through = at("2020-01-01T00:00:00Z");
    let now = at("2026-01-01T00:00:00.5Z");
    for (missed, caught_up) in [
        (MissedRuns::Skip, 0),
        (MissedRuns::One, 1),
        (MissedRuns::All, MAX_CATCH_UP),
    ] {
        let plan = schedule("* * * * * *", missed, Duration::ZERO).plan(through, now);
        let (missed, on_time): (Vec<Firing>, Vec<Firing>) =
            plan.fire.iter().partition(|firing| firing.missed);
        assert_eq!((missed.len(), on_time.len()), (caught_up, 60));
        assert_eq!(plan.skipped, MAX_COUNTED, "that many or more");
        let seconds: Vec<i64> = plan
            .fire
            .iter()
            .map(|firing| firing.at.as_millis() / 1000)
            .collect();
        assert!(
            seconds.windows(2).all(|pair| pair[0] + 1 == pair[1]),
            "without a gap"
        );
        assert_eq!(plan.fire.last().map(|firing| firing.at), Some(plan.through));
    }
}

#[test]
fn a_clock_that_went_back_starts_nothing_again() {
    let schedule = schedule("* * * * *", MissedRuns::All, Duration::ZERO);
    let through = at("2026-01-02T03:00:00Z");
    let plan = schedule.plan(through, at("2026-01-02T01:00:00Z"));
    assert_eq!((started(&plan), plan.through), (Vec::new(), through));
    assert_eq!(
        schedule.next_after(plan.through).map(|next| next.at),
        Some(at("2026-01-02T03:01:00Z"))
    );
}

#[test]
fn jitter_delays_each_instant_by_an_amount_of_its_own() {
    let jitter = Duration::from_secs(600);
    let schedule = schedule("0 * * * *", MissedRuns::Skip, jitter);
    let mut delays = BTreeSet::new();
    let mut instant = at("2026-01-01T00:00:00Z");
    for _ in 0..50 {
        let next = schedule
            .next_after(instant)
            .expect("there is always another");
        assert_eq!(next.due, schedule.due(next.at), "always the same");
        let delay = next.due.since(next.at);
        assert!(delay < jitter);
        delays.insert(delay);
        instant = next.at;
    }
    assert!(delays.len() > 40, "{delays:?}");
    let (first, last) = (delays.first(), delays.last());
    assert!(first < Some(&Duration::from_secs(60)) && last > Some(&Duration::from_secs(540)));
    let another = ScheduleId::new("two").expect("a valid id");
    let another = Schedule::new(
        "nightly",
        another,
        &rule("0 * * * *", MissedRuns::Skip, jitter),
    );
    let another = another.expect("valid").due(instant);
    assert_ne!(
        another,
        schedule.due(instant),
        "schedules do not begin together"
    );
}

#[test]
fn a_delayed_instant_waits_and_is_not_late_because_of_it() {
    let jitter = Duration::from_secs(1800);
    let schedule = schedule("0 * * * *", MissedRuns::Skip, jitter);
    let through = at("2026-01-01T00:00:00Z");
    let next = schedule
        .next_after(through)
        .expect("there is always another");
    assert!(next.due > next.at.plus(GRACE), "a case that says something");
    let waiting = schedule.plan(through, before(next.due));
    assert_eq!((started(&waiting), waiting.through), (Vec::new(), through));
    assert_eq!(schedule.next_after(waiting.through), Some(next));
    let plan = schedule.plan(through, next.due.plus(GRACE));
    assert_eq!(
        plan.fire,
        [Firing {
            at: next.at,
            missed: false
        }]
    );
}

fn id_of(rule: &ScheduleTrigger) -> ScheduleId {
    ids_of(std::slice::from_ref(rule)).remove(0)
}

fn ids_of(rules: &[ScheduleTrigger]) -> Vec<ScheduleId> {
    let rules: Vec<TriggerRule> = rules.iter().cloned().map(TriggerRule::Schedule).collect();
    ids(&rules).into_iter().flatten().collect()
}

#[test]
fn an_id_says_when_and_nothing_else() {
    let base = rule("0 3 * * MON", MissedRuns::One, Duration::ZERO);
    let id = id_of(&base);
    let same = [
        ScheduleTrigger {
            paused: true,
            ..base.clone()
        },
        ScheduleTrigger {
            missed: MissedRuns::All,
            ..base.clone()
        },
        ScheduleTrigger {
            jitter: Duration::from_secs(1),
            ..base.clone()
        },
        ScheduleTrigger {
            input: Some(json!({"a": 1})),
            ..base.clone()
        },
        ScheduleTrigger {
            cron: " 0  3 * * mon ".to_owned(),
            ..base.clone()
        },
    ];
    for rule in same {
        assert_eq!(id_of(&rule), id, "{rule:?}");
    }
    let other = [
        ScheduleTrigger {
            cron: "1 3 * * MON".to_owned(),
            ..base.clone()
        },
        ScheduleTrigger {
            timezone: "UTC".to_owned(),
            ..base.clone()
        },
    ];
    for rule in other {
        assert_ne!(id_of(&rule), id, "{rule:?}");
    }
}

#[test]
fn an_id_does_not_depend_on_other_rules() {
    let (nightly, hourly) = (
        rule("0 3 * * *", MissedRuns::One, Duration::ZERO),
        rule("0 * * * *", MissedRuns::One, Duration::ZERO),
    );
    let alone = id_of(&nightly);
    assert_eq!(ids_of(&[hourly.clone(), nightly.clone()])[1], alone);
    let twice = ids_of(&[nightly.clone(), hourly, nightly.clone()]);
    assert_eq!(twice[0], alone);
    assert_eq!(
        twice.iter().collect::<BTreeSet<_>>().len(),
        3,
        "equal ones are told apart"
    );
    let after = TriggerRule::Workflow(AfterTrigger {
        workflow: "other".to_owned(),
        statuses: Vec::new(),
        filter: None,
        input: None,
    });
    assert_eq!(
        ids(&[after, TriggerRule::Schedule(nightly)]),
        [None, Some(alone)]
    );
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    let crons = [
        "* * * * * *",
        "*/20 * * * * *",
        "* * * * *",
        "*/7 2 * * *",
        "30 * * * *",
        "0 3 * * *",
    ];
    let missed = [MissedRuns::Skip, MissedRuns::One, MissedRuns::All];
    (
        proptest::sample::select(crons.to_vec()),
        proptest::sample::select(missed.to_vec()),
        proptest::sample::select(vec![0_u64, 1, 900, 90_000, 3_600_000]),
    )
        .prop_map(|(cron, missed, jitter)| schedule(cron, missed, Duration::from_millis(jitter)))
}

proptest! {
    /// Whatever happens between two plans: the process sleeps, or it dies before it has stored how far
    /// it got, and then another one with another clock plans the same again.
    #[test]
    fn nothing_is_started_twice_and_nothing_on_time_is_left_out(
        schedule in any_schedule(),
        // An hour before the offset changes, either way.
        begin in proptest::sample::select(vec!["2026-03-29T00:00:00Z", "2026-10-25T00:00:00Z"]),
        turns in proptest::collection::vec((0_u64..400_000, any::<bool>()), 1..12),
    ) {
        let mut through = at(begin);
        let mut now = through;
        let mut ids: BTreeMap<String, Timestamp> = BTreeMap::new();
        let mut stored: BTreeSet<Timestamp> = BTreeSet::new();
        for (millis, crashes) in turns {
            let last = now;
            now = now.plus(Duration::from_millis(millis));
            let plan = schedule.plan(through, now);
            prop_assert!(plan.through >= through && plan.through <= now);
            prop_assert!(plan.fire.windows(2).all(|pair| pair[0].at < pair[1].at));
            for firing in &plan.fire {
                prop_assert!(firing.at > through && firing.at <= plan.through);
                prop_assert!(schedule.due(firing.at) <= now);
                prop_assert!(!stored.contains(&firing.at), "started and stored before");
                // The same instant has the same id, however often it is planned; no other has.
                let before = ids.insert(schedule.origin(firing.at), firing.at);
                prop_assert!(before.is_none_or(|before| before == firing.at));
            }
            let next = schedule.next_after(plan.through).expect("there is always another");
            prop_assert!(next.due > now && next.at > plan.through);
            // Nobody was away for longer than the grace: then every instant is started.
            if now.since(last) <= GRACE {
                let mut instant = through;
                while let Some(due) = schedule.next_after(instant).filter(|next| next.due <= now) {
                    let late = now.since(due.due) > GRACE;
                    prop_assert!(late || plan.fire.iter().any(|firing| firing.at == due.at));
                    instant = due.at;
                }
            }
            let again = schedule.plan(through, now);
            prop_assert_eq!(&again, &plan, "the same again");
            if !crashes {
                stored.extend(plan.fire.iter().map(|firing| firing.at));
                through = plan.through;
                prop_assert!(schedule.plan(through, now).fire.is_empty());
            }
        }
    }
}
