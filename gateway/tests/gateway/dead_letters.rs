//! Dead letters over HTTP: from the stream through a real database.

use std::time::Duration;

use afu9_broker::dead_letter::named_dead_letter_message;
use afu9_gateway::Config;
use afu9_history::projector::{Config as ProjectorConfig, StreamSource};
use afu9_history::{LetterProjector, Projector, Store};
use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::message::{DeadLetter, DeadLetterReason};
use afu9_schemas::view::ExecutionStatus;
use afu9_schemas::{ExecutionId, JobId, Timestamp};
use afu9_servers::fixture::{self, DatabaseFixture};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::{Answer, ECHO, Running, World, answer, config, eventually, with_routes};

const PATH: &str = "/api/v1/dead-letters";

/// A gateway with a database that projectors fill.
struct Desk {
    gateway: Running,
    _database: DatabaseFixture,
    _stop: tokio_util::sync::DropGuard,
    _tasks: JoinSet<()>,
}

async fn desk(world: &World, config: Config) -> Desk {
    let database = fixture::postgres().expect("a database");
    let url = database.url.as_str();
    let store = Store::connect(&afu9_history::Config::new(url.into())).expect("a valid URL");
    let source = StreamSource::new(world.broker.clone());
    let projector = Projector::new(ProjectorConfig::default(), store.clone(), source);
    let letters = LetterProjector::new(store.clone(), world.broker.clone());
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let (first, second) = (stop.clone(), stop.clone());
    tasks.spawn(async move { projector.run(first).await.expect("nothing is wrong") });
    tasks.spawn(letters.run(second));
    Desk {
        gateway: world.gateway_with(config, Some(store)).await,
        _database: database,
        _stop: stop.drop_guard(),
        _tasks: tasks,
    }
}

impl Desk {
    /// Waits until the list has so many, and returns them.
    async fn listed(&self, query: &str, count: usize) -> Vec<Value> {
        let path = format!("{PATH}?{query}");
        eventually("they are listed", async || {
            let list = self.gateway.get(&path).await;
            list.body["deadLetters"].as_array().map(Vec::len) == Some(count)
        })
        .await;
        let list = self.gateway.get(&path).await;
        list.body["deadLetters"].as_array().expect("a list").clone()
    }

    async fn post(&self, id: &Value, action: &str, body: Value) -> Answer {
        let id = id.as_str().expect("an id");
        self.gateway
            .post(&format!("{PATH}/{id}/{action}"), &body)
            .await
    }

    async fn show(&self, id: &Value) -> Value {
        let id = id.as_str().expect("an id");
        self.gateway.get(&format!("{PATH}/{id}")).await.body
    }
}

fn letter(reason: DeadLetterReason, at: Timestamp) -> DeadLetter {
    DeadLetter {
        reason,
        kind: None,
        job: None,
        job_id: None,
        raw: Some(b"{}".to_vec()),
        attempts: Vec::new(),
        error: StepError::new(ErrorClass::Permanent, "test.broken", "it broke"),
        at,
        replay_of: None,
    }
}

/// This long ago.
fn ago(seconds: u64) -> Timestamp {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).expect("later");
    let micros = (since - Duration::from_secs(seconds)).as_micros();
    Timestamp::from_micros(i64::try_from(micros).expect("fits"))
}

async fn publish(world: &World, letter: &DeadLetter, name: &str) {
    let message = named_dead_letter_message(letter, Some(name.to_owned())).expect("encodes");
    world.broker.publish(message).await.expect("stored");
}

const STRICT: &str = "name: strict\nsteps:\n  \
    - { name: a, tool: test.echo, params: { value: 1 }, retry: { maxAttempts: 1 } }\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_step_is_replayed_once_with_other_parameters() {
    let world = crate::support::world().await;
    let owner = world.folding().await;
    let desk = desk(&world, config()).await;
    let gateway = &desk.gateway;
    gateway.put("strict", STRICT).await;
    let id = gateway.start("strict").await;
    owner.fails(id, 0).await;
    let letters = desk.listed("state=open&workflow=strict", 1).await;
    let letter = &letters[0];
    assert_eq!(letter["reason"], "permanent", "{letter}");
    assert_eq!(letter["executionId"], json!(id));
    assert_eq!(
        (&letter["step"], &letter["attempt"]),
        (&json!("a"), &json!(1))
    );
    let shown = desk.show(&letter["id"]).await;
    assert_eq!(shown["job"]["params"], json!({ "value": 1 }), "{shown}");
    assert_eq!(shown["attempts"][0]["error"]["code"], "test.failed");
    assert_eq!(shown["replay"], json!({ "possible": true, "how": "retry" }));

    let odd = json!({ "params": { "valeu": 2 } });
    let refused = desk.post(&letter["id"], "replay", odd).await;
    refused.expect_problem(409, "retry.params", "STATE");
    let mended = json!({ "params": { "value": 2 }, "note": "mended" });
    let replayed = desk.post(&letter["id"], "replay", mended.clone()).await;
    assert_eq!(replayed.status, 200, "{replayed:?}");
    assert_eq!(replayed.body["outcome"], "applied");
    assert_eq!(replayed.body["state"], "replayed");
    gateway.reaches(id, ExecutionStatus::Running).await;
    let view = gateway.get(&format!("/api/executions/{id}")).await;
    assert_eq!(view.body["steps"][0]["input"], json!({ "value": 2 }));

    let again = desk.post(&letter["id"], "replay", mended).await;
    again.expect_problem(409, "dead_letter.replayed", "STATE");
    assert_eq!(again.body["by"], "admin");
    let discard = desk
        .post(&letter["id"], "discard", json!({ "note": "n" }))
        .await;
    discard.expect_problem(409, "dead_letter.replayed", "STATE");
    let shown = desk.show(&letter["id"]).await;
    assert_eq!(shown["settled"]["note"], "mended", "{shown}");

    // On record, with what was given.
    let audit = "/api/audit?action=retry&outcome=applied";
    eventually("it is on record", async || {
        let found = gateway.get(audit).await;
        found.body["entries"][0]["details"]["failed"] == json!(format!("{id}.0.1"))
    })
    .await;
    let found = gateway.get(audit).await;
    let entry = &found.body["entries"][0];
    assert_eq!(entry["details"]["params"], json!({ "value": 2 }), "{entry}");
    assert_eq!(entry["reason"], "mended");
    desk.gateway.stop().await;
}

/// Whatever somebody else had tried again meanwhile counts as replayed, and is not tried once more.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_retried_any_more_says_why() {
    let world = crate::support::world().await;
    let owner = world.folding().await;
    let desk = desk(&world, config()).await;
    let gateway = &desk.gateway;
    gateway.put("strict", STRICT).await;
    let id = gateway.start("strict").await;
    owner.fails(id, 0).await;
    let letters = desk.listed("state=open", 1).await;
    gateway
        .wish(id, "retry", &json!({}))
        .await
        .expect_outcome("applied");
    let late = desk.post(&letters[0]["id"], "replay", json!({})).await;
    assert_eq!(late.body["outcome"], "unchanged", "{late:?}");
    assert_eq!(late.body["state"], "replayed");

    // A job that nobody could read names its attempt by its message.
    let job_id = |attempt| {
        Some(JobId {
            execution: id,
            step: 0,
            attempt,
            item: None,
        })
    };
    let unread = DeadLetter {
        kind: Some("test".parse().expect("valid")),
        job_id: job_id(2),
        raw: Some(vec![0xc1, 0xff]),
        ..letter(DeadLetterReason::Undecodable, ago(1))
    };
    publish(&world, &unread, "unread").await;
    let nameless = DeadLetter {
        job_id: None,
        ..unread.clone()
    };
    publish(&world, &nameless, "nameless").await;
    let gone = DeadLetter {
        job_id: Some(JobId {
            execution: ExecutionId::new(),
            ..job_id(1).expect("one")
        }),
        ..unread
    };
    publish(&world, &gone, "gone").await;
    let history = letter(DeadLetterReason::Unwritable, ago(1));
    publish(&world, &history, "history").await;
    desk.listed("state=open", 4).await;
    let mine = desk.listed(&format!("state=open&execution={id}"), 1).await;
    let shown = desk.show(&mine[0]["id"]).await;
    assert_eq!(shown["raw"]["base64"], "wf8=", "{shown}");
    assert_eq!(shown["raw"]["bytes"], 2);
    let running = desk.post(&mine[0]["id"], "replay", json!({})).await;
    running.expect_problem(409, "execution.not_failed", "STATE");
    for unreadable in desk.listed("state=open&reason=undecodable", 3).await {
        if unreadable["id"] == mine[0]["id"] {
            continue;
        }
        let refused = desk.post(&unreadable["id"], "replay", json!({})).await;
        if unreadable["executionId"].is_null() {
            refused.expect_problem(409, "dead_letter.not_replayable", "STATE");
        } else {
            refused.expect_problem(404, "execution.unknown", "STATE");
        }
    }
    let history = desk.listed("state=open&reason=unwritable", 1).await;
    let refused = desk.post(&history[0]["id"], "replay", json!({})).await;
    refused.expect_problem(409, "dead_letter.not_replayable", "STATE");
    let shown = desk.show(&history[0]["id"]).await;
    assert_eq!(shown["replay"]["possible"], false, "{shown}");
    assert_eq!(shown["raw"]["text"], "{}");
    desk.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_routed_again_and_starts_what_it_has_not_started() {
    let world = crate::support::world().await;
    let routes = "[[route]]\nname = \"late\"\nevent = \"issues\"\nworkflow = \"echo\"\n";
    let desk = desk(&world, with_routes(routes)).await;
    let gateway = &desk.gateway;
    let body = json!({ "action": "opened", "issue": { "number": 7 } });
    let body = body.to_string();
    answer(gateway.webhook("d1", "issues", body.as_bytes())).await;
    let letters = desk.listed("state=open&reason=unroutable", 1).await;
    assert_eq!(letters[0]["delivery"], "d1", "{letters:?}");
    assert_eq!(letters[0]["error"]["code"], "workflow.unknown");
    let shown = desk.show(&letters[0]["id"]).await;
    assert_eq!(shown["deliveryContent"]["body"], body, "{shown}");
    assert_eq!(shown["replay"]["how"], "redeliver");

    let patched = json!({ "params": {} });
    let refused = desk.post(&letters[0]["id"], "replay", patched).await;
    refused.expect_problem(400, "request.malformed", "POLICY");
    // The reason for it is still there: another dead letter, which names this one.
    let replayed = desk.post(&letters[0]["id"], "replay", json!({})).await;
    assert_eq!(replayed.body["outcome"], "applied", "{replayed:?}");
    let open = desk.listed("state=open", 1).await;
    assert_eq!(open[0]["earlier"], letters[0]["id"], "{open:?}");

    gateway.put("echo", ECHO).await;
    let replayed = desk.post(&open[0]["id"], "replay", json!({})).await;
    assert_eq!(replayed.status, 200, "{replayed:?}");
    let metrics = &gateway.metrics;
    eventually("it is routed", async || metrics.routes_started.get() == 1).await;
    let again = desk.post(&open[0]["id"], "replay", json!({})).await;
    again.expect_problem(409, "dead_letter.replayed", "STATE");
    assert_eq!(world.starts().await.len(), 1);
    desk.listed("state=open", 0).await;
    let audit = "/api/audit?action=replay";
    eventually("both are on record", async || {
        let found = gateway.get(audit).await;
        found.body["entries"].as_array().map(Vec::len) == Some(2)
    })
    .await;
    desk.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_discarded_one_by_one_or_together() {
    let world = crate::support::world().await;
    let desk = desk(&world, config()).await;
    let gateway = &desk.gateway;
    for n in 0..7 {
        let reason = match n {
            0 => DeadLetterReason::Unstarted,
            _ => DeadLetterReason::Unwritable,
        };
        publish(&world, &letter(reason, ago(100 - n)), &format!("l{n}")).await;
    }
    let letters = desk.listed("state=open", 7).await;
    let oldest = &letters[6]["id"];
    for body in [json!({}), json!({ "note": "  " })] {
        let refused = desk.post(oldest, "discard", body).await;
        refused.expect_problem(400, "request.malformed", "POLICY");
    }
    let path = format!("{PATH}/{}/discard", oldest.as_str().expect("an id"));
    let discard = |token: &'static str| {
        gateway
            .call(Method::POST, &path)
            .bearer_auth(token)
            .header("Idempotency-Key", "k")
            .json(&json!({ "note": "known" }))
    };
    answer(discard("read-token"))
        .await
        .expect_problem(403, "auth.missing_scope", "POLICY");
    let done = answer(discard("operate-token")).await;
    assert_eq!(done.body["outcome"], "applied", "{done:?}");
    let same = answer(discard("operate-token")).await;
    assert_eq!(same.body["outcome"], "unchanged", "{same:?}");
    let other = desk.post(oldest, "discard", json!({ "note": "too" })).await;
    other.expect_problem(409, "dead_letter.discarded", "STATE");
    let replay = desk.post(oldest, "replay", json!({})).await;
    replay.expect_problem(409, "dead_letter.discarded", "STATE");
    let audit = "/api/audit?action=discard&by=operate";
    eventually("it is on record", async || {
        let found = gateway.get(audit).await;
        let entry = &found.body["entries"][0];
        entry["details"]["deadLetter"] == *oldest && entry["reason"] == "known"
    })
    .await;

    let path = format!("{PATH}/bulk");
    let bulk = async |body: Value| {
        let done = gateway.post(&path, &body).await;
        assert_eq!(done.status, 200, "{done:?}");
        done.body
    };
    let filter = json!({ "reason": "unwritable" });
    let dry = bulk(json!({ "action": "discard", "filter": filter })).await;
    assert_eq!((&dry["dryRun"], &dry["matched"]), (&json!(true), &json!(6)));
    desk.listed("state=open", 6).await;
    let nothing = json!({ "action": "discard", "filter": {}, "dryRun": false, "note": "n" });
    gateway
        .post(&path, &nothing)
        .await
        .expect_problem(400, "request.malformed", "POLICY");
    let silent = json!({ "action": "discard", "all": true, "dryRun": false });
    gateway
        .post(&path, &silent)
        .await
        .expect_problem(400, "request.malformed", "POLICY");

    // None of these can be replayed.
    let replay = bulk(json!({ "action": "replay", "filter": filter, "dryRun": false })).await;
    assert_eq!(
        (&replay["refused"], &replay["applied"]),
        (&json!(6), &json!(0))
    );
    assert_eq!(replay["failures"][0]["code"], "dead_letter.not_replayable");
    let mut wanted = json!({
        "action": "discard", "filter": filter, "dryRun": false, "note": "all known", "limit": 4,
    });
    let first = bulk(wanted.clone()).await;
    assert_eq!(
        (&first["matched"], &first["applied"]),
        (&json!(4), &json!(4))
    );
    wanted["cursor"] = first["nextCursor"].clone();
    let rest = bulk(wanted).await;
    assert_eq!(
        (&rest["applied"], &rest["nextCursor"]),
        (&json!(2), &Value::Null)
    );
    desk.listed("state=open", 0).await;
    desk.listed("state=discarded&limit=200", 7).await;
    desk.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_one_is_a_warning_until_somebody_settles_it() {
    let world = crate::support::world().await;
    let mut config = config();
    config.dead_letter_alarm = Duration::from_secs(600);
    let desk = desk(&world, config).await;
    let gateway = &desk.gateway;
    let check = async || {
        let ready = gateway.get("/api/ready").await;
        assert_eq!(ready.status, 200, "it is a warning only: {ready:?}");
        ready.body["checks"]["dead_letters"].clone()
    };
    eventually("they are counted", async || {
        let ready = gateway.get("/api/ready").await;
        ready.body["checks"]["dead_letters"]["status"] == "ok"
    })
    .await;
    publish(
        &world,
        &letter(DeadLetterReason::Unwritable, ago(60)),
        "young",
    )
    .await;
    let metric = async |line: &str| {
        let text = gateway.get("/metrics").await.text;
        text.lines().any(|found| found.starts_with(line))
    };
    eventually("one is open", async || {
        metric("afu9_dead_letters_open{reason=\"unwritable\"} 1").await
    })
    .await;
    assert_eq!(check().await["status"], "ok");
    publish(
        &world,
        &letter(DeadLetterReason::Unstarted, ago(7200)),
        "old",
    )
    .await;
    eventually("the alarm", async || check().await["status"] == "warning").await;
    assert!(metric("afu9_dead_letters_oldest_seconds 72").await);
    let message = check().await["message"].clone();
    assert!(
        message
            .as_str()
            .is_some_and(|text| text.contains("2 are open")),
        "{message}"
    );

    let old = desk.listed("state=open&reason=unstarted", 1).await;
    desk.post(&old[0]["id"], "discard", json!({ "note": "seen" }))
        .await;
    eventually("the alarm is over", async || {
        check().await["status"] == "ok"
    })
    .await;
    desk.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_there_are_none_to_list() {
    let world = crate::support::world().await;
    let gateway = world.gateway(config()).await;
    for path in ["", "?state=open"] {
        let refused = gateway.get(&format!("{PATH}{path}")).await;
        refused.expect_problem(503, "database.not_configured", "CONFIG");
    }
    let ready = gateway.get("/api/ready").await;
    let check = &ready.body["checks"]["dead_letters"];
    assert_eq!(check["status"], "not_configured", "{ready:?}");
    for query in [
        "state=odd",
        "reason=odd",
        "execution=1",
        "since=x",
        "cursor=1",
        "limit=201",
    ] {
        let refused = gateway.get(&format!("{PATH}?{query}")).await;
        refused.expect_problem(400, "request.malformed", "POLICY");
    }
    gateway.stop().await;
}
