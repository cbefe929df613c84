//! Golden files of what the buckets keep: the bytes of each version, read by this one.
//!
//! `AFU9_GOLDEN=write cargo test -p afu9-broker golden` writes those of this version where they are missing;
//! what an earlier version wrote never changes.

use std::fmt::Debug;
use std::path::PathBuf;

use afu9_broker::kv::{
    CheckpointHead, Claim, Lease, Mark, Member, Place, Poison, SchedulePause, ScheduleState,
    SegmentRef, WorkSeen,
};
use afu9_schemas::message::{ScheduleRef, Switched};
use afu9_schemas::{ExecutionId, InstanceId, ScheduleId, Timestamp, WorkerKind, codec};
use serde::Serialize;
use serde::de::DeserializeOwned;

const FIRST: u8 = 1;

fn pinned(name: &str, version: u8) -> (PathBuf, Option<Vec<u8>>) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(format!("tests/golden/{name}.v{version}.msgpack"));
    let bytes = std::fs::read(&file).ok();
    (file, bytes)
}

/// What an earlier version wrote is read as `value`.
#[track_caller]
fn still_read<T: DeserializeOwned + PartialEq + Debug>(name: &str, version: u8, value: &T) {
    let (file, bytes) = pinned(name, version);
    let mut bytes = bytes.unwrap_or_else(|| panic!("{} is missing", file.display()));
    assert_eq!(bytes[0], version);
    let read: T = codec::decode(&bytes).expect("the pinned bytes are readable");
    assert_eq!(&read, value, "{name} is read differently than before");
    bytes[0] = codec::WIRE_VERSION + 1;
    let refused = codec::decode::<T>(&bytes).expect_err("a future version");
    assert!(refused.is_from_the_future(), "{name}");
}

/// What this version writes is what is pinned, and is read as `value`.
#[track_caller]
fn written<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, value: &T) {
    let (file, bytes) = pinned(name, codec::WIRE_VERSION);
    let now = codec::encode(value).expect("encodes");
    if bytes.is_none() && option_env!("AFU9_GOLDEN") == Some("write") {
        std::fs::write(&file, &now).expect("golden file written");
    }
    still_read(name, codec::WIRE_VERSION, value);
    let (_, bytes) = pinned(name, codec::WIRE_VERSION);
    assert!(
        bytes.is_some_and(|bytes| now == bytes),
        "{name} is written differently than before"
    );
}

fn instance() -> InstanceId {
    "01920000-0000-7000-8000-000000000009"
        .parse()
        .expect("valid")
}

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + micros)
}

fn schedule() -> ScheduleId {
    ScheduleId::new("a-0").expect("valid")
}

#[test]
fn heads_of_checkpoints() {
    let kind = WorkerKind::new("github").expect("valid");
    let first = CheckpointHead {
        owner: instance(),
        epoch: 3,
        floor: 7,
        floor_at: None,
        segments: vec![SegmentRef {
            name: "0.segment.3-x.1".to_owned(),
            pieces: 2,
            bytes: 600_000,
        }],
        server: "NSERVER".to_owned(),
        work: vec![WorkSeen { kind, sequence: 41 }],
        claims: 0,
        mark: None,
        poison: Vec::new(),
    };
    still_read("checkpoint_head", FIRST, &first);
    let place = |sequence, input| Place { sequence, input };
    written(
        "checkpoint_head",
        &CheckpointHead {
            floor_at: Some(at(0)),
            claims: 2,
            mark: Some(Mark {
                place: place(8, Some(2)),
                tries: 1,
            }),
            poison: vec![Poison {
                place: place(9, None),
                times: 1,
            }],
            ..first
        },
    );
}

#[test]
fn leases_and_members() {
    let lease = Lease {
        owner: Some(instance()),
        epoch: 3,
        renewal: 70_000,
    };
    let member = Member {
        instance: instance(),
        beat: 70_001,
    };
    written("lease", &lease);
    written("member", &member);
    still_read("lease", FIRST, &lease);
    still_read("member", FIRST, &member);
}

#[test]
fn claims_of_keys() {
    let claim = Claim {
        execution: "01920000-0000-7000-8000-000000000011"
            .parse::<ExecutionId>()
            .expect("valid"),
        content: "9f86d081884c7d65".to_owned(),
    };
    written("claim", &claim);
    still_read("claim", FIRST, &claim);
}

#[test]
fn schedules_and_their_pauses() {
    written(
        "schedule_state",
        &ScheduleState {
            workflow: "nightly".to_owned(),
            schedule: schedule(),
            cron: "0 3 * * *".to_owned(),
            timezone: "Europe/Berlin".to_owned(),
            through: at(0),
            fired: Some(at(-1)),
            next: Some(at(1)),
            paused: true,
        },
    );
    written(
        "schedule_pause",
        &SchedulePause {
            of: ScheduleRef {
                workflow: "nightly".to_owned(),
                schedule: schedule(),
            },
            paused: true,
            last: Switched {
                by: "ops".to_owned(),
                reason: Some("the month is closed".to_owned()),
                at: at(0),
                requests: vec![
                    "01920000-0000-7000-8000-000000000010"
                        .parse()
                        .expect("valid"),
                ],
            },
        },
    );
}
