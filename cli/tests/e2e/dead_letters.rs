//! Dead letters from outside: a step that failed is replayed by its operator with other parameters, and
//! its effect happens once; a job that nobody can read shows its bytes, and is replayed, too.

use std::time::Duration;

use afu9_broker::config::{DEFAULT_ACK_WAIT, DEFAULT_KEY_AGE, Limits};
use afu9_broker::publish::Outgoing;
use afu9_broker::{Auth, Broker, Durability, Replicas};
use afu9_loadtest::simulated_github::EffectKind;
use afu9_schemas::PartitionCount;
use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::harness::Factory;
use crate::harness::command::{Ended, afu9};
use crate::harness::database::Storage;
use crate::harness::wait;

const PATIENCE: Duration = Duration::from_secs(30);

/// A comment on an issue that is not there, and something before it that must not happen again.
const COMMENTING: &str = "\
name: commenting
steps:
  - { name: first, tool: github.addComment, params: { owner: octo, repo: factory, number: 1, body: begun } }
  - { name: say, tool: github.addComment, params: { owner: octo, repo: factory, number: 4711, body: done } }
";

const FAILING: &str = "\
name: failing
steps:
  - { name: bad, tool: test.fail, params: { permanent: true, times: 1 } }
";

const FOLLOWING: &str = "\
name: following
on:
  - workflow: { name: failing, status: [failed], input: { n: \"${upstream.error.absent}\" } }
steps:
  - { name: say, tool: test.echo, params: { value: \"${input.n}\" } }
";

async fn run(factory: &Factory, arguments: &[&str]) -> Result<Ended> {
    afu9(factory.environment(), arguments).await
}

async fn json_of(factory: &Factory, arguments: &[&str]) -> Result<Value> {
    let ended = run(factory, &[&["--output", "json"], arguments].concat()).await?;
    assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
    ended.json()
}

/// The open dead letters that pass a filter, once there are so many.
async fn open(factory: &Factory, filter: &[&str], count: usize) -> Result<Vec<Value>> {
    let arguments = [&["dead-letters", "list"], filter].concat();
    wait::until("dead letters", PATIENCE, async || {
        let ended = run(factory, &[&["--output", "json"], &arguments[..]].concat()).await?;
        // The projector may not have made the table yet.
        if ended.code == Some(69) {
            return Ok(None);
        }
        let found = ended.json()?;
        let letters = found["deadLetters"].as_array().context("a list")?;
        Ok((letters.len() == count).then(|| letters.clone()))
    })
    .await
}

fn comments(factory: &Factory) -> usize {
    let effects = factory.github.handle.effects();
    let is_comment = |kind| kind == EffectKind::CreateComment;
    effects.iter().filter(|one| is_comment(one.kind)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_failed_is_replayed_with_other_parameters_and_its_effect_happens_once()
-> Result<()> {
    let factory = Factory::start(Storage::Kept, 2).await?;
    let api = factory.api.clone();
    api.apply("commenting", COMMENTING).await?;
    let id = api.start("commenting", &json!({})).await?;
    let letters = open(&factory, &["--execution", &id], 1).await?;
    let letter = letters[0]["id"].as_str().context("an id")?;
    assert_eq!(letters[0]["reason"], "permanent", "{letters:?}");
    assert_eq!(letters[0]["error"]["code"], "github.not_found");
    assert_eq!(comments(&factory), 1);

    let shown = json_of(&factory, &["dead-letters", "show", letter]).await?;
    assert_eq!(shown["job"]["params"]["number"], 4711, "{shown}");
    assert_eq!(shown["attempts"][0]["attempt"], 1);
    assert!(shown["attempts"][0]["worker"].is_string(), "{shown}");
    let text = run(&factory, &["dead-letters", "show", letter]).await?;
    assert!(text.stdout.contains("github.not_found"), "{text:?}");

    let replay = ["dead-letters", "replay", letter, "--params"];
    let odd = run(&factory, &[&replay[..], &[r#"{"number": 1}"#]].concat()).await?;
    assert_eq!(odd.code, Some(1), "{odd:?}");
    let mended = r#"{"owner": "octo", "repo": "factory", "number": 2, "body": "done"}"#;
    let mended = [&replay[..], &[mended, "--note", "it is issue 2"]].concat();
    let replayed = json_of(&factory, &mended).await?;
    assert_eq!(replayed["outcome"], "applied", "{replayed}");
    api.wait_until_completed(std::slice::from_ref(&id), PATIENCE)
        .await?;
    assert_eq!(comments(&factory), 2, "one for each step");
    let view = api.get(&format!("/api/executions/{id}")).await?.json;
    assert_eq!(view["steps"][1]["input"]["number"], 2, "{view}");
    assert_eq!(view["steps"][1]["attempts"][1]["attempt"], 2);

    let again = run(&factory, &mended).await?;
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.stderr.contains("has replayed it"), "{again:?}");
    open(&factory, &["--execution", &id], 0).await?;
    let settled = ["--execution", &id, "--state", "replayed"];
    let settled = open(&factory, &settled, 1).await?;
    assert_eq!(settled[0]["settled"]["note"], "it is issue 2");
    assert_eq!(comments(&factory), 2);
    factory.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_job_shows_its_bytes_and_many_are_replayed_together() -> Result<()> {
    let factory = Factory::start(Storage::Kept, 1).await?;
    let api = factory.api.clone();
    api.apply("failing", FAILING).await?;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(api.start("failing", &json!({})).await?);
    }
    open(&factory, &["--workflow", "failing"], 3).await?;

    // What a foreign hand wrote, under the name of a job.
    let broker = Broker::connect(afu9_broker::Config {
        url: factory.nats.url.clone(),
        auth: Auth::None,
        ca_file: None,
        name: "e2e".to_owned(),
        replicas: Replicas::One,
        durability: Durability::Fast,
        partitions: PartitionCount::new(1)?,
        kinds: Vec::new(),
        ack_wait: DEFAULT_ACK_WAIT,
        key_age: DEFAULT_KEY_AGE,
        limits: Limits::default(),
    })
    .await?;
    let garbage = Outgoing {
        subject: "afu9.work.github.bulk".to_owned(),
        payload: vec![2, 0xc1, 0xff].into(),
        message_id: Some(format!("{}.0.1", ids[0])),
    };
    broker.publish(garbage).await?;
    let unread = open(&factory, &["--reason", "undecodable"], 1).await?;
    assert_eq!(unread[0]["executionId"], json!(ids[0]), "{unread:?}");
    let letter = unread[0]["id"].as_str().context("an id")?;
    let shown = json_of(&factory, &["dead-letters", "show", letter]).await?;
    assert_eq!(shown["raw"]["base64"], "AsH/", "{shown}");
    let replayed = json_of(&factory, &["dead-letters", "replay", letter]).await?;
    assert_eq!(replayed["outcome"], "applied", "{replayed}");
    api.wait_until_completed(&ids[..1], PATIENCE).await?;

    let bulk = ["dead-letters", "bulk", "replay", "--tool", "test.fail"];
    let dry = json_of(&factory, &[&bulk[..], &["--dry-run"]].concat()).await?;
    assert_eq!(dry["matched"], 3, "{dry}");
    open(&factory, &[], 3).await?;
    // That of the first execution was replayed with the other one.
    let done = run(&factory, &[&["--output", "json"], &bulk[..]].concat()).await?;
    let done = done.json()?;
    assert_eq!(done["applied"], 2, "{done}");
    api.wait_until_completed(&ids, PATIENCE).await?;
    let left = open(&factory, &[], 1).await?;
    assert_eq!(left[0]["executionId"], json!(ids[0]), "{left:?}");
    let letter = left[0]["id"].as_str().context("an id")?;
    let discard = ["dead-letters", "discard", letter, "--note", "it is done"];
    json_of(&factory, &discard).await?;
    open(&factory, &[], 0).await?;
    factory.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_trigger_could_not_start_is_started_when_it_is_mended() -> Result<()> {
    let factory = Factory::start(Storage::Kept, 1).await?;
    let api = factory.api.clone();
    api.apply("failing", FAILING).await?;
    api.apply("following", FOLLOWING).await?;
    // The orchestrators may hear of a new version a moment later: an end before that starts nothing.
    let letter = wait::until("what was not started", PATIENCE, async || {
        let id = api.start("failing", &json!({})).await?;
        open(&factory, &["--execution", &id], 1).await?;
        let ended = run(
            &factory,
            &[
                "--output",
                "json",
                "dead-letters",
                "list",
                "--reason",
                "unstarted",
            ],
        );
        let found = ended.await?.json()?;
        Ok(found["deadLetters"][0]["id"].as_str().map(str::to_owned))
    })
    .await?;
    let shown = json_of(&factory, &["dead-letters", "show", &letter]).await?;
    assert_eq!(shown["workflow"], "following", "{shown}");
    let cause = &shown["trigger"]["cause"]["upstream"];
    assert_eq!(cause["status"], "failed", "{shown}");
    assert_eq!(shown["replay"]["how"], "start");

    let replay = ["dead-letters", "replay", &letter];
    let still = run(&factory, &replay).await?;
    assert_eq!(still.code, Some(1), "{still:?}");
    assert!(still.stderr.contains("still has no value"), "{still:?}");
    let mended = FOLLOWING.replace("error.absent", "error.code");
    api.apply("following", &mended).await?;
    let replayed = json_of(&factory, &replay).await?;
    let id = replayed["executionId"].as_str().context("an execution")?;
    api.wait_until_completed(&[id.to_owned()], PATIENCE).await?;
    let view = api.get(&format!("/api/executions/{id}")).await?.json;
    assert_eq!(view["execution"]["input"]["n"], "test.fail", "{view}");
    let again = run(&factory, &replay).await?;
    assert_eq!(again.code, Some(1), "{again:?}");
    factory.finish()
}
