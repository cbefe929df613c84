//! The operator commands against a running system.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::harness::Factory;
use crate::harness::command::{Ended, afu9};
use crate::harness::database::Storage;
use crate::harness::definition::NOOP_5;
use crate::harness::wait;

const PATIENCE: Duration = Duration::from_secs(30);

const FAILING: &str = "\
name: failing
steps:
  - { name: bad, tool: test.fail, params: { permanent: true, message: told to } }
  - { name: never, tool: test.noop }
";

const SLOW: &str = "\
name: slow
steps:
  - { name: sleep, tool: test.sleep, params: { ms: 60000 } }
";

const ECHO: &str = "\
name: echo
steps:
  - { name: say, tool: test.echo, assign: say, params: { value: \"${input.n}\" } }
";

/// A system and its operator.
struct Desk {
    factory: Factory,
}

impl Desk {
    async fn open() -> Result<Self> {
        let factory = Factory::start(Storage::Kept, 1).await?;
        for (name, text) in [
            ("noop_5", NOOP_5),
            ("failing", FAILING),
            ("slow", SLOW),
            ("echo", ECHO),
        ] {
            std::fs::write(factory.path().join(format!("{name}.yaml")), text)?;
        }
        Ok(Self { factory })
    }

    fn file(&self, name: &str) -> String {
        self.factory
            .path()
            .join(format!("{name}.yaml"))
            .display()
            .to_string()
    }

    async fn run(&self, arguments: &[&str]) -> Result<Ended> {
        afu9(self.factory.environment(), arguments).await
    }

    async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let ended = self
            .run(&[&["--output", "json"], arguments].concat())
            .await?;
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        ended.json()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn run_follows_an_execution_and_its_exit_code_says_how_it_ended() -> Result<()> {
    let desk = Desk::open().await?;

    let completed = desk
        .run(&["--output", "json", "run", &desk.file("noop_5")])
        .await?;
    assert_eq!(completed.code, Some(0), "{completed:?}");
    let lines = completed.json_lines()?;
    let events: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["event"].as_str())
        .collect();
    assert_eq!(
        events,
        ["started", "step", "step", "step", "step", "step", "ended"]
    );
    let id = lines[0]["executionId"].as_str().context("an id")?;
    assert_eq!(lines[6]["execution"]["id"], id);
    assert_eq!(lines[6]["execution"]["status"], "completed");

    let echo = desk
        .run(&[
            "--output",
            "json",
            "run",
            &desk.file("echo"),
            "--input",
            "n=7",
        ])
        .await?;
    assert_eq!(echo.code, Some(0), "{echo:?}");
    let lines = echo.json_lines()?;
    assert_eq!(lines[1]["step"]["output"]["value"], 7, "{echo:?}");

    let failed = desk.run(&["run", &desk.file("failing")]).await?;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(
        failed.stdout.contains("failed in") && failed.stdout.contains("told to"),
        "{failed:?}"
    );

    let slow = desk.file("slow");
    let follow = ["--output", "json", "run", &slow];
    let (cancelled, ()) = tokio::try_join!(desk.run(&follow), async {
        let running = wait::until("the slow one to run", PATIENCE, async || {
            let found = desk
                .json(&["executions", "ls", "--status", "running"])
                .await?;
            Ok(found["executions"][0]["id"].as_str().map(str::to_owned))
        });
        let id = running.await?;
        let ended = desk
            .run(&["executions", "cancel", &id, "--reason", "enough"])
            .await?;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        Ok(())
    })?;
    assert_eq!(cancelled.code, Some(3), "{cancelled:?}");
    let last = cancelled.json_lines()?.pop().context("a last line")?;
    assert_eq!(
        (&last["event"], &last["execution"]["status"]),
        (&"ended".into(), &"cancelled".into())
    );

    let not_ended = desk
        .run(&["--output", "json", "run", &slow, "--wait", "1"])
        .await?;
    assert_eq!(not_ended.code, Some(4), "{not_ended:?}");
    let lines = not_ended.json_lines()?;
    assert_eq!(
        lines.last().map(|line| &line["event"]),
        Some(&"not_ended".into())
    );
    let id = lines[0]["executionId"].as_str().context("an id")?;
    assert_eq!(desk.run(&["executions", "cancel", id]).await?.code, Some(0));
    desk.factory.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_and_ran_is_listed_and_shown() -> Result<()> {
    let desk = Desk::open().await?;
    let files = [desk.file("noop_5"), desk.file("failing")];
    let applied = desk
        .run(&["workflows", "apply", &files[0], &files[1]])
        .await?;
    assert_eq!(applied.code, Some(0), "{applied:?}");
    assert_eq!(applied.stdout.lines().count(), 2, "{applied:?}");
    let again = desk.run(&["workflows", "apply", &files[0]]).await?;
    assert!(again.stdout.contains("unchanged, version 1"), "{again:?}");

    let workflows = desk.json(&["workflows", "ls"]).await?;
    assert_eq!(workflows["total"], 2, "{workflows}");
    let table = desk.run(&["workflows", "ls"]).await?;
    assert!(table.stdout.starts_with("NAME"), "{table:?}");
    assert_eq!(table.stdout.lines().count(), 3, "{table:?}");

    assert_eq!(desk.run(&["run", &files[0]]).await?.code, Some(0));
    assert_eq!(desk.run(&["run", &files[1]]).await?.code, Some(1));
    let listed = desk.json(&["executions", "ls"]).await?;
    let executions = listed["executions"].as_array().context("executions")?;
    let names: Vec<&str> = executions
        .iter()
        .filter_map(|one| one["workflow"].as_str())
        .collect();
    assert_eq!(names, ["failing", "noop_5"], "newest first");
    let completed = desk
        .json(&["executions", "ls", "--status", "completed"])
        .await?;
    assert_eq!(
        completed["executions"].as_array().map(Vec::len),
        Some(1),
        "{completed}"
    );
    let named = desk
        .json(&["executions", "ls", "--workflow", "failing", "--limit", "1"])
        .await?;
    assert_eq!(named["executions"][0]["status"], "failed", "{named}");

    let id = executions[0]["id"].as_str().context("an id")?;
    let shown = desk.json(&["executions", "show", id]).await?;
    let status = |index: usize| shown["steps"][index]["status"].as_str();
    assert_eq!(
        (status(0), status(1)),
        (Some("failed"), Some("skipped")),
        "{shown}"
    );
    let text = desk.run(&["executions", "show", id]).await?;
    assert!(
        text.stdout.contains("told to") && text.stdout.contains("bad"),
        "{text:?}"
    );

    let unknown = "0190c2a0-0000-7000-8000-000000000001";
    let missing = desk.run(&["executions", "show", unknown]).await?;
    assert_eq!(missing.code, Some(1), "{missing:?}");
    assert!(missing.stderr.contains(unknown), "{missing:?}");
    let too_late = desk.run(&["executions", "cancel", id]).await?;
    assert_eq!(too_late.code, Some(1), "{too_late:?}");
    desk.factory.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn items_are_shown_a_page_at_a_time() -> Result<()> {
    let desk = Desk::open().await?;
    let each = "name: each\nsteps:\n  \
        - { name: all, forEach: [1, 2, 3], tool: test.echo, params: { value: \"${item}\" } }\n";
    std::fs::write(desk.factory.path().join("each.yaml"), each)?;
    let ran = desk
        .run(&["--output", "json", "run", &desk.file("each")])
        .await?;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines = ran.json_lines()?;
    let id = lines[0]["executionId"].as_str().context("an id")?;
    let items = ["executions", "items", id, "all"];
    wait::until("the items to be written", PATIENCE, async || {
        let found = desk.json(&items).await?;
        Ok((found["items"].as_array().map(Vec::len) == Some(3)).then_some(()))
    })
    .await?;
    let page = desk.run(&[&items[..], &["--limit", "2"]].concat()).await?;
    assert!(
        page.stdout.contains("there are more: --after 1"),
        "{page:?}"
    );
    let rest = desk.json(&[&items[..], &["--after", "1"]].concat()).await?;
    assert_eq!(rest["items"][0]["item"], 2, "{rest}");
    desk.factory.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_finds_a_running_system_healthy() -> Result<()> {
    let mut desk = Desk::open().await?;
    // The projector makes the tables, and nothing else waits for them.
    let within = Duration::from_secs(30);
    wait::until("a healthy system", within, async || {
        let ended = desk.run(&["doctor"]).await?;
        Ok((ended.code == Some(0)).then_some(()))
    })
    .await?;
    let answer = desk.json(&["doctor"]).await?;
    assert_eq!(answer["healthy"], true, "{answer}");
    let checks = answer["checks"].as_array().context("checks")?;
    for name in [
        "configuration",
        "nats",
        "topology",
        "database",
        "github_api",
        "authentication",
        "api",
    ] {
        let found = checks.iter().find(|check| check["name"] == name);
        assert_eq!(
            found.map(|check| &check["status"]),
            Some(&"ok".into()),
            "{name}: {answer}"
        );
    }
    let text = desk.run(&["doctor"]).await?;
    assert_eq!(
        (text.code, text.stdout.lines().count()),
        (Some(0), checks.len()),
        "{text:?}"
    );

    desk.factory
        .configure("AFU9_GITHUB__TOKEN", Some("revoked"));
    let ended = desk.run(&["--output", "json", "doctor"]).await?;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let answer = ended.json()?;
    let checks = answer["checks"].as_array().context("checks")?;
    let found = checks
        .iter()
        .find(|check| check["name"] == "authentication");
    assert_eq!(
        found.context("authentication")?["status"],
        "error",
        "{answer}"
    );
    assert!(!ended.stdout.contains("revoked"), "secrets are not printed");
    desk.factory.finish()
}

/// Items, a list too long for a message, an error that is caught, and what knows its own execution.
const MANY: &str = "\
name: many
steps:
  - { name: lists, tool: test.bytes, forEach: [1, 2, 3, 4, 5], params: { bytes: 150000 } }
  - { name: flaky, tool: test.fail, forEach: [0, 9, 0], continueOnError: true,
      params: { times: \"${item}\" }, retry: { maxAttempts: 2, initialDelayMs: 100 } }
  - { name: says, tool: test.echo, params: { value: [\"${steps.flaky.error.class}\",
      \"${execution.id}\", \"${execution.startedAt}\", \"${size(steps.lists.output)}\", \"${repo.name}\"] } }
";

/// Ends by its time.
const LATE: &str = "\
name: late
config: { timeoutMs: 1000 }
steps:
  - { name: quick, tool: test.noop }
  - { name: hold, waitFor: go }
  - { name: never, tool: test.noop }
";

#[tokio::test(flavor = "multi_thread")]
async fn recorded_executions_are_replayed_with_another_definition() -> Result<()> {
    let desk = Desk::open().await?;
    let (many, late) = (desk.file("many"), desk.file("late"));
    std::fs::write(&many, MANY)?;
    std::fs::write(&late, LATE)?;
    for _ in 0..2 {
        let ended = desk
            .run(&["run", &many, "--repository", "acme/shop"])
            .await?;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    assert_eq!(desk.run(&["run", &late]).await?.code, Some(1));
    let replay = async |arguments: &[&str]| {
        let command = [&["--output", "json", "workflows", "replay"], arguments].concat();
        let ended = desk.run(&command).await?;
        let summary = ended.json_lines()?.pop().context("a summary")?;
        anyhow::Ok((ended, summary))
    };
    // What its orchestrator cannot show whole is told, until the database has it.
    let whole = wait::until("history", PATIENCE, async || {
        let (ended, summary) = replay(&[&many]).await?;
        Ok((summary["skipped"] == 0).then_some((ended, summary)))
    });
    let (ended, summary) = whole.await?;
    let counts = (&summary["replayed"], &summary["different"]);
    assert_eq!(counts, (&2.into(), &0.into()), "{ended:?}");
    assert_eq!(ended.code, Some(0), "{ended:?}");

    // More than one page of a list holds.
    let (ended, summary) = replay(&[&late, "--limit", "450"]).await?;
    let counts = (&summary["replayed"], &summary["different"]);
    assert_eq!(counts, (&1.into(), &0.into()), "{ended:?}");

    std::fs::write(
        &many,
        MANY.replace("steps.flaky.error.class", "steps.flaky.error.code"),
    )?;
    let (ended, summary) = replay(&[&many]).await?;
    assert_eq!(
        (ended.code, &summary["different"]),
        (Some(1), &2.into()),
        "{ended:?}"
    );
    let lines = ended.json_lines()?;
    let told = lines[0]["differences"][0].as_str().unwrap_or_default();
    assert!(told.contains("step `says` would get"), "{ended:?}");

    let slow = desk.file("slow");
    let started = desk
        .run(&["--output", "json", "run", &slow, "--wait", "1"])
        .await?;
    let lines = started.json_lines()?;
    let id = lines[0]["executionId"].as_str().context("an id")?;
    let (ended, summary) = replay(&[&slow, "--execution", id]).await?;
    assert_eq!(
        (ended.code, &summary["skipped"]),
        (Some(1), &1.into()),
        "{ended:?}"
    );
    assert!(ended.stdout.contains("it has not ended"), "{ended:?}");
    assert_eq!(desk.run(&["executions", "cancel", id]).await?.code, Some(0));

    let applied = wait::until("the audit log", PATIENCE, async || {
        let found = desk
            .json(&[
                "audit",
                "--action",
                "apply",
                "--outcome",
                "applied",
                "--limit",
                "300",
            ])
            .await?;
        let count = found["entries"].as_array().map(Vec::len);
        Ok((count == Some(3)).then_some(found))
    });
    applied.await?;
    desk.factory.finish()
}
