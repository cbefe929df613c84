//! Dead letters: from their stream to their table, once each; lists, and what is settled.

use std::time::Duration;

use afu9_broker::Broker;
use afu9_broker::dead_letter::{dead_letter_message, named_dead_letter_message};
use afu9_broker::publish::Outgoing;
use afu9_history::{
    Letter, LetterCursor, LetterFilter, LetterProjector, LetterState, Settlement, Store,
};
use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::message::history::AttemptRecord;
use afu9_schemas::message::{DeadLetter, DeadLetterReason, Job};
use afu9_schemas::{
    DeadLetterId, ExecutionId, JobId, Lane, Partition, RequestId, Timestamp, codec,
};
use afu9_servers::fixture;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::stories::{NOON, after};
use crate::support::{BOUND, broker, count, database};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn job(execution: ExecutionId, attempt: u32, params: Value) -> Job {
    Job {
        id: JobId {
            execution,
            step: 2,
            attempt,
            item: None,
        },
        partition: Partition::new(0),
        step_name: "comment".to_owned(),
        tool: "github.addComment".parse().expect("valid"),
        params,
        lane: Lane::Bulk,
        dispatched_at: NOON,
        deadline: None,
        workflow: "triage".to_owned(),
        traceparent: Some(format!("00-{TRACE}-b7ad6b7169203331-01")),
        alone: false,
        state: None,
    }
}

fn letter(job: Option<Job>, reason: DeadLetterReason, at: Timestamp) -> DeadLetter {
    let error = StepError::new(ErrorClass::Permanent, "github.not_found", "no such issue\0");
    let attempts = job.iter().map(|job| AttemptRecord {
        deferrals: 0,
        attempt: job.id.attempt,
        dispatched_at: job.dispatched_at,
        worker: None,
        started_at: None,
        ended_at: None,
        error: Some(error.clone()),
    });
    DeadLetter {
        reason,
        kind: job.as_ref().map(|job| job.tool.kind().clone()),
        job_id: None,
        raw: None,
        attempts: attempts.collect(),
        error: error.clone(),
        at,
        replay_of: None,
        job,
    }
}

/// A dead letter as the stream would deliver it.
fn stored(letter: &DeadLetter, sequence: u64) -> Letter {
    Letter {
        id: DeadLetterId::derived(&sequence.to_string()),
        stream_sequence: sequence,
        stored_at: letter.at,
        raw: codec::encode(letter).expect("encodes").to_vec(),
        letter: Some(letter.clone()),
    }
}

/// Writes dead letters until `done`.
async fn project(store: &Store, broker: &Broker, done: impl AsyncFn() -> bool) {
    let stop = CancellationToken::new();
    let projector = LetterProjector::new(store.clone(), broker.clone());
    let looked = async {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        let reached = async {
            while !done().await {
                looks.tick().await;
            }
        };
        let reached = tokio::time::timeout(BOUND, reached).await;
        stop.cancel();
        reached.expect("in time");
    };
    tokio::join!(projector.run(stop.clone()), looked);
}

#[tokio::test]
async fn a_dead_letter_of_a_newer_version_is_left_for_a_newer_projector() {
    let nats = fixture::nats().expect("a server");
    let database = database().await;
    let broker = broker(&nats.url).await;
    let letter = |step| {
        let job = job(ExecutionId::new(), step, json!({}));
        letter(Some(job), DeadLetterReason::Permanent, NOON)
    };
    let mut newer = dead_letter_message(&letter(1)).expect("encodes");
    let mut bytes = newer.payload.to_vec();
    bytes[0] = codec::WIRE_VERSION + 1;
    newer.payload = bytes.clone().into();
    let newer = broker.publish(newer).await.expect("is stored");
    let known = dead_letter_message(&letter(2)).expect("encodes");
    broker.publish(known).await.expect("is stored");

    let rows = async || count(&database.pool, "SELECT count(*) FROM dead_letters").await;
    project(&database.store, &broker, async || rows().await >= 1).await;

    assert_eq!(rows().await, 1, "only the one that can be read");
    let found = broker.dead_letter_at(newer.sequence).await;
    assert_eq!(found.expect("answers").as_deref(), Some(&bytes[..]));
}

#[tokio::test]
async fn dead_letters_go_from_the_stream_to_the_table_once() {
    let nats = fixture::nats().expect("a server");
    let database = database().await;
    let broker = broker(&nats.url).await;
    let execution = ExecutionId::new();
    let permanent = DeadLetterReason::Permanent;
    let small = letter(Some(job(execution, 1, json!({ "n": 1 }))), permanent, NOON);
    let params = json!({ "body": "x".repeat(200_000) });
    let large = letter(Some(job(execution, 2, params)), permanent, NOON);
    let unread = DeadLetter {
        job_id: Some(JobId {
            execution,
            step: 3,
            attempt: 1,
            item: Some(4),
        }),
        raw: Some(vec![0xc1, 0xff]),
        ..letter(None, DeadLetterReason::Undecodable, NOON)
    };
    for letter in [&small, &large, &unread] {
        let message = dead_letter_message(letter).expect("encodes");
        broker.publish(message).await.expect("is stored");
    }
    // The same one under the same id, after the server has forgotten the first.
    let again = named_dead_letter_message(&small, None).expect("encodes");
    let name = format!("dlq.{execution}.2.1");
    let copy = stored(&small, 99);
    let copy = Letter {
        id: DeadLetterId::derived(&name),
        ..copy
    };
    // And what is no dead letter at all.
    let garbage = Outgoing {
        subject: again.subject.clone(),
        payload: vec![codec::WIRE_VERSION, 0xc1].into(),
        message_id: None,
    };
    broker.publish(garbage).await.expect("is stored");

    let rows = async || count(&database.pool, "SELECT count(*) FROM dead_letters").await;
    project(&database.store, &broker, async || rows().await >= 4).await;
    let written = database.store.write_letters(&[copy]).await;
    assert_eq!(written.expect("is there already"), 0);
    assert_eq!(rows().await, 4);

    let all = LetterFilter::default();
    let listed = database.store.list_letters(&all, 10).await.expect("reads");
    let of = |reason: &str, attempt: Option<u32>| {
        let found = listed
            .iter()
            .find(|entry| entry.reason == reason && entry.attempt == attempt);
        found.expect("is listed").clone()
    };
    let entry = of("permanent", Some(1));
    assert_eq!(entry.id, DeadLetterId::derived(&name));
    assert_eq!(entry.workflow.as_deref(), Some("triage"));
    assert_eq!(entry.tool.as_deref(), Some("github.addComment"));
    assert_eq!(
        (entry.execution, entry.step_index),
        (Some(execution), Some(2))
    );
    assert_eq!(entry.trace_id.as_deref(), Some(TRACE));
    assert_eq!(
        (entry.attempts, entry.error_message.as_str()),
        (1, "no such issue\u{fffd}")
    );
    let bytes = async |id| database.store.letter_bytes(id).await.expect("reads");
    let whole = bytes(entry.id).await.expect("is small");
    assert_eq!(codec::decode::<DeadLetter>(&whole).expect("reads"), small);

    // A large one is in the stream only, and complete there.
    let entry = of("permanent", Some(2));
    assert_eq!(bytes(entry.id).await, None);
    let found = broker.dead_letter_at(entry.stream_sequence).await;
    let found = found.expect("answers").expect("is there");
    assert_eq!(found.len() as u64, entry.bytes);
    assert_eq!(codec::decode::<DeadLetter>(&found).expect("reads"), large);

    // An unreadable job's execution is known by its name; an unreadable letter is kept as it is.
    let entry = of("undecodable", Some(1));
    assert_eq!((entry.execution, entry.item), (Some(execution), Some(4)));
    let entry = of("undecodable", None);
    assert_eq!(bytes(entry.id).await, Some(vec![codec::WIRE_VERSION, 0xc1]));
    assert_eq!(entry.error_code, "dead_letter.undecodable");
}

#[tokio::test]
async fn they_are_listed_by_what_they_are_and_settled_once() {
    let database = database().await;
    let store = &database.store;
    let (one, other) = (ExecutionId::new(), ExecutionId::new());
    let permanent = DeadLetterReason::Permanent;
    let exhausted = DeadLetterReason::AttemptsExhausted;
    let params = || json!({});
    let letters = [
        letter(Some(job(one, 1, params())), permanent, NOON),
        letter(Some(job(one, 3, params())), permanent, after(NOON, 1)),
        letter(Some(job(other, 1, params())), exhausted, after(NOON, 2)),
        letter(None, DeadLetterReason::Unwritable, after(NOON, 3)),
    ];
    for (letter, sequence) in letters.iter().zip(1..) {
        let written = store.write_letters(&[stored(letter, sequence)]).await;
        assert_eq!(written.expect("writes"), 1);
    }
    let list = async |filter: LetterFilter, limit| {
        let found = store.list_letters(&filter, limit).await.expect("reads");
        let counted = store.count_letters(&filter, 100).await.expect("counts");
        assert!(counted >= found.len() as u64);
        found
    };
    let sequences = |found: &[afu9_history::LetterEntry]| -> Vec<u64> {
        found.iter().map(|entry| entry.stream_sequence).collect()
    };
    let text = |text: &str| Some(text.to_owned());
    let all = LetterFilter::default;
    for (filter, expected) in [
        (all(), vec![4, 3, 2, 1]),
        (
            LetterFilter {
                reason: text("permanent"),
                ..all()
            },
            vec![2, 1],
        ),
        (
            LetterFilter {
                kind: text("github"),
                ..all()
            },
            vec![3, 2, 1],
        ),
        (
            LetterFilter {
                tool: text("github.addComment"),
                ..all()
            },
            vec![3, 2, 1],
        ),
        (
            LetterFilter {
                workflow: text("other"),
                ..all()
            },
            vec![],
        ),
        (
            LetterFilter {
                execution: Some(one),
                ..all()
            },
            vec![2, 1],
        ),
        (
            LetterFilter {
                since: Some(after(NOON, 2)),
                ..all()
            },
            vec![4, 3],
        ),
        (
            LetterFilter {
                until: Some(after(NOON, 2)),
                ..all()
            },
            vec![2, 1],
        ),
        (
            LetterFilter {
                state: Some(LetterState::Discarded),
                ..all()
            },
            vec![],
        ),
    ] {
        let found = list(filter.clone(), 10).await;
        assert_eq!(sequences(&found), expected, "{filter:?}");
    }
    let page = list(all(), 3).await;
    let before = page.last().map(LetterCursor::from);
    let rest = list(LetterFilter { before, ..all() }, 3).await;
    assert_eq!(
        (sequences(&page), sequences(&rest)),
        (vec![4, 3, 2], vec![1])
    );
    // The second one of a step names the first.
    let (first, second) = (rest[0].id, &page[2]);
    assert_eq!(second.earlier, Some(first));

    let settlement = |state, by: &str| Settlement {
        state,
        by: by.to_owned(),
        at: after(NOON, 60),
        note: text("why"),
        request: RequestId::new(),
    };
    let discard = settlement(LetterState::Discarded, "anna");
    let replay = settlement(LetterState::Replayed, "bert");
    assert!(store.settle_letter(first, &discard).await.expect("settles"));
    assert!(!store.settle_letter(first, &replay).await.expect("answers"));
    let entry = store.show_letter(first).await.expect("reads");
    assert_eq!(entry.expect("is there").settled, Some(discard));
    // Delivered again, it stays settled.
    let written = store.write_letters(&[stored(&letters[0], 1)]).await;
    assert_eq!(written.expect("changes nothing"), 0);
    let open = store.open_letters().await.expect("counts");
    let open: Vec<_> = open
        .iter()
        .map(|open| (open.reason.as_str(), open.count, open.oldest()))
        .collect();
    assert_eq!(
        open,
        [
            ("attempts_exhausted", 1, after(NOON, 2)),
            ("permanent", 1, after(NOON, 1)),
            ("unwritable", 1, after(NOON, 3)),
        ]
    );

    // They go with the stream.
    let days = |days: u64| after(NOON, 2).plus(Duration::from_hours(24 * days));
    assert_eq!(store.drop_old_letters(days(89)).await.expect("drops"), 0);
    assert_eq!(store.drop_old_letters(days(90)).await.expect("drops"), 2);
    assert_eq!(sequences(&list(all(), 10).await), [4, 3]);
}
