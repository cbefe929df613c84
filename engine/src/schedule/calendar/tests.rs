//! What the crates for cron and time zones are relied on for, and every rule about local times that are
//! skipped or repeated, held against a search that looks at each minute.

use std::time::Duration;

use chrono::{NaiveDateTime, TimeDelta};
use proptest::prelude::*;

use super::*;

fn calendar(cron: &str, zone: &str) -> Calendar {
    Calendar::new(cron, zone).expect(cron)
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).expect(text)
}

/// The first instants after one, as local times with their offset.
fn local(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let calendar = calendar(cron, zone);
    let mut instant = at(after);
    let mut found = Vec::new();
    for _ in 0..count {
        instant = calendar.after(instant).expect("there is always another");
        let local = instant.to_datetime().with_timezone(&calendar.zone);
        found.push(local.format("%m-%d %H:%M:%S %z").to_string());
    }
    found
}

#[test]
fn fields_mean_what_they_do_in_cron() {
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "0 3 * * *",
            "2026-01-01T00:00:00Z",
            &["01-01 03:00:00", "01-02 03:00:00"],
        ),
        (
            "*/20 9-10 * * *",
            "2026-01-01T10:00:00Z",
            &["01-01 10:20:00", "01-01 10:40:00", "01-02 09:00:00"],
        ),
        (
            "5,35 0 1 JAN,jul *",
            "2026-01-01T00:05:00Z",
            &["01-01 00:35:00", "07-01 00:05:00"],
        ),
        (
            "0 12 * * MON-fri",
            "2026-01-02T12:00:00Z",
            &["01-05 12:00:00"],
        ),
        // Sunday has two numbers.
        ("0 0 * * 0", "2026-01-01T00:00:00Z", &["01-04 00:00:00"]),
        ("0 0 * * 7", "2026-01-01T00:00:00Z", &["01-04 00:00:00"]),
        // Six fields begin with seconds.
        (
            "*/30 * * * * *",
            "2026-01-01T00:00:00Z",
            &["01-01 00:00:30", "01-01 00:01:00"],
        ),
        ("15 0 0 * * *", "2026-01-01T00:00:15Z", &["01-02 00:00:15"]),
        // The last day, the last Friday, the second Tuesday, the weekday nearest to the 15th.
        (
            "0 0 L * *",
            "2026-02-01T00:00:00Z",
            &["02-28 00:00:00", "03-31 00:00:00"],
        ),
        ("0 0 * * FRI#L", "2026-01-01T00:00:00Z", &["01-30 00:00:00"]),
        (
            "0 0 * * 2#2",
            "2026-01-01T00:00:00Z",
            &["01-13 00:00:00", "02-10 00:00:00"],
        ),
        (
            "0 0 15W * *",
            "2026-02-01T00:00:00Z",
            &["02-16 00:00:00", "03-16 00:00:00"],
        ),
        // Either of two restricted days.
        (
            "0 0 13 * 5",
            "2026-01-10T00:00:00Z",
            &["01-13 00:00:00", "01-16 00:00:00"],
        ),
        ("0 0 29 2 *", "2026-01-01T00:00:00Z", &["02-29 00:00:00"]),
    ];
    for (cron, after, expected) in cases {
        let found = local(cron, "UTC", after, expected.len());
        let expected: Vec<String> = expected
            .iter()
            .map(|text| format!("{text} +0000"))
            .collect();
        assert_eq!(found, expected, "{cron}");
    }
}

#[test]
fn a_part_of_a_second_changes_nothing() {
    let calendar = calendar("* * * * * *", "UTC");
    let next = at("2026-01-01T00:00:01Z");
    for before in [
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.000001Z",
        "2026-01-01T00:00:00.999999Z",
    ] {
        assert_eq!(calendar.after(at(before)), Some(next), "{before}");
    }
    assert_eq!(calendar.after(next), Some(at("2026-01-01T00:00:02Z")));
    let before_the_epoch = Timestamp::from_micros(-1);
    assert_eq!(
        calendar.after(before_the_epoch),
        Some(Timestamp::from_micros(0))
    );
}

#[test]
fn what_cannot_come_is_a_mistake_with_its_field() {
    let fields = |cron, zone| -> Vec<&str> {
        let mistakes = Calendar::new(cron, zone).expect_err(cron);
        mistakes.iter().map(|mistake| mistake.field).collect()
    };
    for cron in [
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "5-1 * * * *",
        "*/0 * * * *",
        "a * * * *",
        "* * * *",
        "* * * * * * *",
        "",
        "1- * * * *",
        "0/5 * * * *",
    ] {
        assert_eq!(fields(cron, "UTC"), ["cron"], "{cron}");
    }
    assert_eq!(
        fields("0 0 30 2 *", "UTC"),
        ["cron"],
        "there is no such day"
    );
    assert_eq!(fields("0 0 * * *", "Europe/Bielefeld"), ["timezone"]);
    assert_eq!(
        fields("0 0 * * *", "europe/berlin"),
        ["timezone"],
        "names have their case"
    );
    assert_eq!(fields("x", "x"), ["timezone", "cron"], "all at once");
}

#[test]
fn a_local_time_that_does_not_exist_is_the_first_instant_after_the_gap() {
    let berlin = "Europe/Berlin";
    let night = "2026-03-28T12:00:00Z";
    assert_eq!(
        local("30 2 * * *", berlin, night, 2),
        ["03-29 03:00:00 +0200", "03-30 02:30:00 +0200"]
    );
    assert_eq!(
        local("*/10 2 * * *", berlin, night, 2),
        ["03-29 03:00:00 +0200", "03-30 02:00:00 +0200"],
        "six of them are one"
    );
    assert_eq!(
        local("30 2-4 * * *", berlin, night, 3),
        [
            "03-29 03:00:00 +0200",
            "03-29 03:30:00 +0200",
            "03-29 04:30:00 +0200"
        ]
    );
    assert_eq!(
        local("0 2,3 * * *", berlin, night, 2),
        ["03-29 03:00:00 +0200", "03-30 02:00:00 +0200"],
        "one with the instant that is there anyway"
    );
    // At midnight, by half an hour, and a whole day.
    assert_eq!(
        local("0 0 * * *", "Africa/Cairo", "2026-04-23T00:00:00Z", 2),
        ["04-24 01:00:00 +0300", "04-25 00:00:00 +0300"]
    );
    assert_eq!(
        local(
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03T12:00:00Z",
            2
        ),
        ["10-04 02:30:00 +1100", "10-05 02:15:00 +1100"]
    );
    assert_eq!(
        local("0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", 3),
        [
            "12-29 12:00:00 -1000",
            "12-31 00:00:00 +1400",
            "12-31 12:00:00 +1400"
        ]
    );
}

#[test]
fn a_local_time_that_occurs_twice_is_its_first_occurrence() {
    let evening = "2026-10-24T12:00:00Z";
    assert_eq!(
        local("30 2 * * *", "Europe/Berlin", evening, 2),
        ["10-25 02:30:00 +0200", "10-26 02:30:00 +0100"]
    );
    assert_eq!(
        local("30 2,3 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1),
        ["10-25 03:30:00 +0100"],
        "asked in the second occurrence of the hour"
    );
    assert_eq!(
        local("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", 2),
        ["11-01 01:30:00 -0400", "11-02 01:30:00 -0500"]
    );
    assert_eq!(
        local("30 23 * * *", "Africa/Cairo", "2026-10-29T12:00:00Z", 2),
        ["10-29 23:30:00 +0300", "10-30 23:30:00 +0200"]
    );
}

#[test]
fn a_schedule_of_every_hour_follows_elapsed_time() {
    assert_eq!(
        local("30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 3),
        [
            "03-29 01:30:00 +0100",
            "03-29 03:30:00 +0200",
            "03-29 04:30:00 +0200"
        ]
    );
    assert_eq!(
        local("30 * * * *", "Europe/Berlin", "2026-10-24T23:00:00Z", 4),
        [
            "10-25 01:30:00 +0200",
            "10-25 02:30:00 +0200",
            "10-25 02:30:00 +0100",
            "10-25 03:30:00 +0100"
        ]
    );
    // The repeated hour is the day's last: days that are not chosen do not hide it.
    assert_eq!(
        local("0 * 29 10 *", "Africa/Cairo", "2026-10-29T19:00:00Z", 2),
        ["10-29 23:00:00 +0300", "10-29 23:00:00 +0200"]
    );
    let every_minute = calendar("* * * * *", "Europe/Berlin");
    for hour in [at("2026-03-29T00:00:00Z"), at("2026-10-25T00:00:00Z")] {
        let mut instant = hour;
        for _ in 0..180 {
            let next = every_minute
                .after(instant)
                .expect("there is always another");
            assert_eq!(next.since(instant), Duration::from_secs(60));
            instant = next;
        }
    }
}

/// Every minute of `hours` is looked at.
fn by_looking(calendar: &Calendar, from: DateTime<Utc>, hours: i64) -> Vec<DateTime<Utc>> {
    let minutes = |n: i64| TimeDelta::minutes(n);
    let reads = |instant: DateTime<Utc>| instant.with_timezone(&calendar.zone).naive_local();
    let matches = |local: NaiveDateTime| {
        calendar
            .cron
            .is_time_matching(&local)
            .expect("a valid time")
    };
    let all: Vec<DateTime<Utc>> = (1..=hours * 60).map(|n| from + minutes(n)).collect();
    if calendar.every_hour {
        return all
            .into_iter()
            .filter(|instant| matches(reads(*instant)))
            .collect();
    }
    let mut found: Vec<DateTime<Utc>> = Vec::new();
    let mut passed = reads(from);
    for instant in all {
        // The local minutes that no instant before this one has reached.
        let mut new = false;
        while passed < reads(instant) {
            passed += minutes(1);
            new |= matches(passed);
        }
        if new {
            found.push(instant);
        }
    }
    found
}

fn field(choices: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(choices)
}

/// Where the offset changes, and an instant some hours before.
const CHANGES: [(&str, &str); 9] = [
    ("Europe/Berlin", "2026-03-28T18:00:00Z"),
    ("Europe/Berlin", "2026-10-24T18:00:00Z"),
    ("America/New_York", "2026-03-08T00:00:00Z"),
    ("America/New_York", "2026-11-01T00:00:00Z"),
    ("Africa/Cairo", "2026-04-23T16:00:00Z"),
    ("Africa/Cairo", "2026-10-29T14:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T09:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T10:00:00Z"),
    ("UTC", "2026-03-28T18:00:00Z"),
];

const WINDOW_HOURS: i64 = 40;

proptest! {
    #[test]
    fn instants_are_those_that_looking_at_each_minute_finds(
        minute in field(&["*", "0", "30", "*/15", "5,35", "59", "17-19"]),
        hour in field(&["*", "0-23", "2", "1-3", "*/2", "0", "23", "2,3", "1", "22-23"]),
        day in field(&["* * *", "* * 0", "* * 1-5", "25 * *", "29 * 0", "L * *"]),
        (zone, from) in proptest::sample::select(&CHANGES[..]),
    ) {
        let calendar = calendar(&format!("{minute} {hour} {day}"), zone);
        let from = at(from);
        let expected = by_looking(&calendar, from.to_datetime(), WINDOW_HOURS);
        let end = from.plus(Duration::from_secs(3600 * WINDOW_HOURS.unsigned_abs()));
        let mut found = Vec::new();
        let mut instant = from;
        while let Some(next) = calendar.after(instant).filter(|next| *next <= end) {
            prop_assert!(next > instant);
            found.push(next.to_datetime());
            instant = next;
        }
        prop_assert_eq!(&found, &expected);
        // From anywhere, not only from one instant to the next.
        for probe in (0..WINDOW_HOURS * 60).step_by(61).map(|minute| from.to_datetime() + TimeDelta::minutes(minute)) {
            let next = calendar.after(probe.into()).filter(|next| *next <= end);
            let expected = found.iter().find(|found| **found > probe).copied();
            prop_assert_eq!(next.map(Timestamp::to_datetime), expected, "after {}", probe);
            let last = calendar.latest(from, probe.into());
            let expected = found.iter().rfind(|found| **found <= probe).copied();
            prop_assert_eq!(last.map(Timestamp::to_datetime), expected, "until {}", probe);
        }
    }

    #[test]
    fn the_next_instant_is_later_anywhere(
        second in field(&["0", "*", "*/7", "59"]),
        hour in field(&["*", "2", "*/5"]),
        day in field(&["* * *", "1 * *", "* 2 5"]),
        (zone, _) in proptest::sample::select(&CHANGES[..]),
        micros in 0_i64..4_000_000_000_000_000,
    ) {
        let calendar = calendar(&format!("{second} 30 {hour} {day}"), zone);
        let instant = Timestamp::from_micros(micros);
        let next = calendar.after(instant).expect("there is always another");
        prop_assert!(next > instant);
        prop_assert_eq!(calendar.latest(instant, next), Some(next));
        prop_assert_eq!(calendar.latest(instant, Timestamp::from_micros(next.as_micros() - 1)), None);
    }
}
