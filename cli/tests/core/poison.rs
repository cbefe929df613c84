//! Inputs that bring down whoever folds them: set aside after a few tries, and everything else goes on.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use afu9_broker::Broker;
use afu9_loadtest::nats::Nats;
use afu9_orchestrator::{Config, Orchestrator};
use afu9_schemas::codec;
use afu9_schemas::message::{
    DeadLetter, DeadLetterReason, ExecutionEnded, Input, InputEnvelope, InputKind, Outcome,
};
use afu9_schemas::view::{ExecutionStatus, StepStatus};
use afu9_schemas::{ExecutionId, Partition, WorkerKind};
use afu9_workers::tool::Toolbox;
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::world::{self, Shape, World};

/// An input was begun this often when it is set aside, if its panic can be caught.
const TRIES: u64 = 3;

/// And if it ends the process: two owners more find out that care is needed.
const CRASHES: u32 = 5;

/// Each crash is a lease that expires.
const PATIENCE: Duration = Duration::from_secs(120);

/// The test that plays two parts, by which its other process is told what to run.
const CRASHING: &str =
    "poison::an_input_that_ends_the_process_is_set_aside_and_everything_else_goes_on";

/// Where the other process finds its server; a process with it is the other one.
const CHILD_URL: &str = "AFU9_TEST_CHILD_URL";

const SOURCE: &str = concat!(
    "name: fragile\n",
    "steps:\n",
    "  - { name: a, tool: test.echo, params: { value: \"${input.result}\" } }\n",
    "  - { name: b, tool: test.noop }\n",
    "onFailure:\n",
    "  - { name: tell, tool: test.noop }\n",
);

/// Does what the input of a submission, or the output of `test.echo`, says.
fn fault(input: &Input) {
    let told = match &input.kind {
        InputKind::Start(start) => start.input.get("start"),
        InputKind::JobResult(result) => match &result.outcome {
            Outcome::Done(output) => output.get("value"),
            Outcome::Failed { .. } | Outcome::Deferred(_) => None,
        },
        _ => None,
    };
    match told.and_then(Value::as_str) {
        Some("panic") => panic!("told to"),
        Some("abort") => std::process::abort(),
        _ => {}
    }
}

fn faulty() -> Config {
    Config {
        fault: Some(fault),
        ..Config::default()
    }
}

/// The dead letters, by the execution that their input was for.
async fn letters(world: &World) -> Result<BTreeMap<ExecutionId, (DeadLetter, Input)>> {
    let port = world.url().rsplit(':').next().context("a port")?.parse()?;
    let nats = Nats::new([port]);
    let mut letters = BTreeMap::new();
    for sequence in 1.. {
        let Some(bytes) = nats.message("AFU9_DLQ", sequence).await? else {
            break;
        };
        let letter: DeadLetter = codec::decode(&bytes)?;
        let raw = letter.raw.clone().context("the input as it was")?;
        let envelope: InputEnvelope = codec::decode(&raw)?;
        let [input] = <[Input; 1]>::try_from(envelope.inputs).expect("one input");
        let twice = letters.insert(input.execution, (letter, input));
        assert!(twice.is_none(), "{twice:?}");
    }
    Ok(letters)
}

fn assert_poisoned(end: &ExecutionEnded) {
    assert_eq!(end.status, ExecutionStatus::Failed, "{:?}", end.error);
    let error = end.error.as_ref().expect("an error");
    assert_eq!(error.code, "input.poison", "{error:?}");
}

fn assert_letter(letters: &BTreeMap<ExecutionId, (DeadLetter, Input)>, id: ExecutionId) {
    let (letter, input) = &letters[&id];
    assert_eq!(letter.reason, DeadLetterReason::Poison);
    assert_eq!(letter.error.code, "input.poison");
    assert_eq!(input.execution, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_that_panic_are_set_aside_and_everything_else_goes_on() -> Result<()> {
    let world = World::start().await?;
    let orchestrator = world.orchestrator_with(faulty());
    let worker = world.worker();
    let workflow = world.apply(SOURCE).await?;
    let good = json!({ "result": "fine" });
    let mut innocent = world.start_many(&workflow, good.clone(), 40).await?;
    let start = json!({ "start": "panic", "result": "fine" });
    let start = world.start_one(&workflow, start).await?;
    let result = json!({ "result": "panic" });
    let result = world.start_one(&workflow, result).await?;
    innocent.extend(world.start_many(&workflow, good.clone(), 40).await?);

    let ended = world.wait_for_ends(&innocent).await?;
    for (id, end) in &ended {
        assert_eq!(end.status, ExecutionStatus::Completed, "{id}");
    }
    let ended = world.wait_for_ends(&[start, result]).await?;
    assert_poisoned(&ended[&start]);
    assert_poisoned(&ended[&result]);
    assert_eq!(world.step(result, "tell").status, StepStatus::Completed);
    let letters = letters(&world).await?;
    assert_eq!(letters.len(), 2);
    assert_letter(&letters, start);
    assert_letter(&letters, result);
    let stats = orchestrator.stats();
    assert_eq!(stats.panics, 2 * TRIES);
    assert!(stats.poisoned_inputs >= 2, "{stats:?}");
    assert_eq!(stats.orphans, 0);
    world.assert_history_is_gapless();
    orchestrator.stop().await?;

    let orchestrator = world.orchestrator_with(faulty());
    let later = world.start_many(&workflow, good, 20).await?;
    world.wait_for_ends(&later).await?;
    assert_eq!(orchestrator.stats().panics, 0, "it stays set aside");
    worker.stop().await?;
    orchestrator.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_ends_the_process_is_set_aside_and_everything_else_goes_on() -> Result<()> {
    #[expect(
        clippy::disallowed_methods,
        reason = "what a parent tells its child, not configuration"
    )]
    if let Ok(url) = std::env::var(CHILD_URL) {
        return be_ended(&url).await;
    }
    let world = World::start().await?;
    let worker = world.worker();
    let workflow = world.apply(SOURCE).await?;
    let good = json!({ "result": "fine" });
    let mut innocent = world.start_many(&workflow, good.clone(), 20).await?;
    let poison = json!({ "result": "abort" });
    let poison = world.start_one(&workflow, poison).await?;
    innocent.extend(world.start_many(&workflow, good.clone(), 20).await?);

    let mut crashes = 0;
    let mut child = spawn(&world)?;
    let deadline = Instant::now() + PATIENCE;
    while world.ended() < innocent.len() + 1 {
        if Instant::now() > deadline {
            bail!("{} have ended after {crashes} crashes", world.ended());
        }
        if child.try_wait()?.is_some() {
            crashes += 1;
            assert!(crashes <= CRASHES, "it is not set aside");
            child = spawn(&world)?;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(crashes > 1, "only {crashes} crashes");
    let ended = world.wait_for_ends(&innocent).await?;
    for (id, end) in &ended {
        assert_eq!(end.status, ExecutionStatus::Completed, "{id}");
    }
    let ended = world.wait_for_ends(&[poison]).await?;
    assert_poisoned(&ended[&poison]);
    let letters = letters(&world).await?;
    assert_eq!(letters.len(), 1);
    assert_letter(&letters, poison);
    world.assert_history_is_gapless();

    // Killed, so that its successor begins where its last checkpoint ended.
    child.kill().await?;
    let orchestrator = world.orchestrator_with(faulty());
    let later = world.start_many(&workflow, good, 20).await?;
    world.wait_for_ends(&later).await?;
    worker.stop().await?;
    orchestrator.stop().await?;
    Ok(())
}

/// Several inputs in one message, of which one is poison: it alone is set aside, in whatever partition.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_message_only_the_poison_is_set_aside() -> Result<()> {
    let world = World::start().await?;
    let workflow = world.apply(SOURCE).await?;
    let mut starts = Vec::new();
    for number in 0..60 {
        let start = if number == 30 { "panic" } else { "fine" };
        let input = json!({ "start": start, "result": number });
        starts.push(world.submission(&workflow, input)?);
    }
    let partition = Partition::new(1);
    let mut ids = Vec::new();
    let mut inputs = Vec::new();
    while let Some(start) = starts.pop() {
        let mut id = ExecutionId::new();
        while world.broker().partitions().of(id) != partition {
            id = ExecutionId::new();
        }
        ids.push(id);
        inputs.push((id, InputKind::Start(Box::new(start))));
    }
    let poison = ids[29];
    world.submit_all(inputs).await?;
    let orchestrator = world.orchestrator_with(faulty());
    let worker = world.worker();
    let ended = world.wait_for_ends(&ids).await?;
    for (id, end) in &ended {
        if *id == poison {
            assert_poisoned(end);
        } else {
            assert_eq!(end.status, ExecutionStatus::Completed, "{id}");
        }
    }
    assert_eq!(orchestrator.stats().panics, TRIES);
    assert_eq!(letters(&world).await?.len(), 1);
    worker.stop().await?;
    orchestrator.stop().await?;
    Ok(())
}

/// A tool that panics fails its attempt, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_panics_fails_its_attempt_only() -> Result<()> {
    let world = World::start().await?;
    let orchestrator = world.orchestrator();
    let toolbox = Toolbox::new(WorkerKind::new("test")?)
        .with("noop", |_call, _params: Value| async {
            tokio::task::yield_now().await;
            if true {
                panic!("told to");
            }
            Ok(json!({}))
        })
        .with("echo", |_call, params: Value| async move { Ok(params) });
    let worker = world.worker_with(toolbox);
    let retry = "retry: { maxAttempts: 2, initialDelayMs: 100 }";
    let source = format!("name: bad\nsteps: [{{ name: a, tool: test.noop, {retry} }}]\n");
    let bad = world.apply(&source).await?;
    let source = "name: good\nsteps: [{ name: a, tool: test.echo, params: { value: 1 } }]\n";
    let good = world.apply(source).await?;
    let bad = world.start_many(&bad, json!({}), 3).await?;
    let good = world.start_many(&good, json!({}), 20).await?;
    for end in world.wait_for_ends(&good).await?.values() {
        assert_eq!(end.status, ExecutionStatus::Completed);
    }
    for (id, end) in world.wait_for_ends(&bad).await? {
        assert_eq!(end.error.expect("an error").code, "tool.panicked");
        assert_eq!(world.step(id, "a").attempts.len(), 2);
    }
    worker.stop().await?;
    orchestrator.stop().await?;
    Ok(())
}

/// This test in a process of its own, where it plays the other part.
fn spawn(world: &World) -> Result<tokio::process::Child> {
    let child = tokio::process::Command::new(std::env::current_exe()?)
        .args(["--exact", CRASHING, "--nocapture"])
        .env(CHILD_URL, world.url())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    Ok(child)
}

/// The part of the other process: an orchestrator that the input of the test ends.
async fn be_ended(url: &str) -> Result<()> {
    let mut broker = Broker::connect(world::config(url, &Shape::default())).await?;
    broker.ensure_topology().await?;
    let orchestrator = Orchestrator::new(broker, faulty());
    orchestrator.run(CancellationToken::new()).await?;
    Ok(())
}
