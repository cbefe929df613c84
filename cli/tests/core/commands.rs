//! The operator commands, each against a gateway, an orchestrator and a worker on a real nats-server.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::world::{Role, World};

const ECHO: &str = "\
name: echo
steps:
  - { name: say, tool: test.echo, assign: say, params: { value: \"${input.n}\" } }
";

const GATE: &str = "name: gate\nsteps: [{ name: hold, waitFor: go }]\n";

const ASKED: &str = "\
name: asked
steps:
  - { name: before, tool: test.echo, params: { value: 1 } }
  - { name: ask, needs: [before], approval: {} }
  - { name: behind, needs: [ask], tool: test.noop }
";

async fn opened() -> Result<(World, Role, Role, Desk)> {
    let world = World::start().await?;
    let (orchestrator, worker) = (world.orchestrator(), world.worker());
    let desk = world.desk().await?;
    Ok((world, orchestrator, worker, desk))
}

async fn closed(orchestrator: Role, worker: Role, desk: Desk) -> Result<()> {
    desk.close().await?;
    worker.stop().await?;
    orchestrator.stop().await
}

fn id_of(started: &Value) -> Result<String> {
    let id = started["executionId"].as_str();
    Ok(id.with_context(|| started.to_string())?.to_owned())
}

fn contains(text: &str, parts: &[&str]) -> Result<()> {
    for part in parts {
        ensure!(text.contains(part), "no `{part}` in {text}");
    }
    Ok(())
}

/// Waits until as many executions are listed.
async fn listed(desk: &Desk, status: &str, count: usize) -> Result<()> {
    let arguments = ["executions", "ls", "--status", status];
    let so = |found: &Value| found["executions"].as_array().map(Vec::len) == Some(count);
    desk.json_when(&arguments, so).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_workflow_is_shown_started_compared_and_disabled() -> Result<()> {
    let (_world, orchestrator, worker, desk) = opened().await?;
    desk.apply(ECHO).await?;
    desk.apply(&ECHO.replace("name: say,", "name: say, timeoutMs: 5000,"))
        .await?;
    let shown = desk.text(0, &["workflows", "show", "echo"]).await?;
    contains(
        &shown,
        &["echo v2", "applied", "by ada", "\"test.echo\"", "5000"],
    )?;
    let first = desk
        .text(0, &["workflows", "show", "echo", "--of-version", "1"])
        .await?;
    ensure!(
        first.contains("echo v1") && !first.contains("5000"),
        "{first}"
    );
    let versions = desk
        .text(0, &["workflows", "versions", "echo", "--limit", "1"])
        .await?;
    contains(&versions, &["there are more: --before 2"])?;
    let versions = ["workflows", "versions", "echo", "--before", "2"];
    let older = desk.json(&versions).await?;
    ensure!(older["versions"][0]["version"] == 1, "{older}");
    let diff = desk.text(0, &["workflows", "diff", "echo"]).await?;
    contains(&diff, &["+ ", "timeoutMs", "5000"])?;

    let start = ["workflows", "start", "echo", "--input", "n=7"];
    let keyed = [&start[..], &["--idempotency-key", "once"]].concat();
    let once = id_of(&desk.json(&keyed).await?)?;
    ensure!(id_of(&desk.json(&keyed).await?)? == once, "started once");
    let text = desk
        .text(0, &[&start[..], &["--wait", "60"]].concat())
        .await?;
    contains(&text, &["echo v2", "completed in"])?;
    let unknown = desk.text(1, &["workflows", "start", "nothing"]).await?;
    contains(&unknown, &["no workflow `nothing`"])?;

    let disable = ["workflows", "disable", "echo", "--reason", "on fire"];
    contains(&desk.text(0, &disable).await?, &["echo: disable: done"])?;
    contains(&desk.text(0, &disable).await?, &["it was so already"])?;
    contains(&desk.text(1, &start).await?, &["disabled by ada"])?;
    let shown = desk.text(0, &["workflows", "show", "echo"]).await?;
    contains(&shown, &["disabled by ada", "on fire"])?;
    contains(
        &desk.text(0, &["workflows", "enable", "echo"]).await?,
        &["done"],
    )?;
    desk.text(0, &start).await?;
    closed(orchestrator, worker, desk).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_people_is_explained_approved_followed_and_repeated() -> Result<()> {
    let (_world, orchestrator, worker, desk) = opened().await?;
    desk.apply(ASKED).await?;
    let id = desk.start("asked").await?;
    let explain = ["executions", "explain", id.as_str()];
    let so = |found: &Value| found["causes"][0]["cause"] == "approval";
    desk.json_when(&explain, so).await?;
    contains(&desk.text(0, &explain).await?, &["asked", "ask", "approv"])?;
    let follow = ["--output", "json", "executions", "events", id.as_str()];
    let (followed, approved) = tokio::join!(desk.run(&follow), async {
        let wrong = ["executions", "approve", id.as_str(), "--step", "before"];
        desk.text(1, &wrong).await?;
        let approve = ["executions", "approve", id.as_str(), "--reason", "fine"];
        desk.text(0, &approve).await
    });
    contains(&approved?, &["approve: done"])?;
    let followed = followed?;
    ensure!(followed.code == Some(0), "{followed:?}");
    let lines = followed.json_lines()?;
    ensure!(lines[0]["event"] == "state", "{lines:?}");
    let last = lines.last().context("an end")?;
    ensure!(last["data"]["status"] == "completed", "{last}");
    // One that has ended: its state, and that is all.
    let late = desk.text(0, &["executions", "events", id.as_str()]).await?;
    ensure!(
        late.lines().count() == 1 && late.contains("completed"),
        "{late}"
    );

    let rerun = ["executions", "rerun", id.as_str(), "--from-step", "behind"];
    let again = id_of(
        &desk
            .json(&[&rerun[..], &["--idempotency-key", "k"]].concat())
            .await?,
    )?;
    ensure!(again != id);
    ensure!(
        id_of(
            &desk
                .json(&[&rerun[..], &["--idempotency-key", "k"]].concat())
                .await?
        )? == again
    );
    // People decided about the first one only.
    let explain = ["executions", "explain", again.as_str()];
    let so = |found: &Value| found["causes"][0]["cause"] == "approval";
    desk.json_when(&explain, so).await?;
    desk.text(0, &["executions", "approve", again.as_str()])
        .await?;
    let text = desk
        .text(0, &["executions", "events", again.as_str()])
        .await?;
    contains(&text, &["completed"])?;

    let audit = ["audit", "--execution", id.as_str()];
    let so = |found: &Value| found["entries"].as_array().map(Vec::len) == Some(3);
    desk.json_when(&audit, so).await?;
    let reruns = [&audit[..], &["--action", "rerun"]].concat();
    let reruns = desk.json(&reruns).await?;
    ensure!(
        reruns["entries"].as_array().map(Vec::len) == Some(1),
        "{reruns}"
    );
    let audit = [&audit[..], &["--to"]].concat();
    let until = reruns["entries"][0]["at"].as_str().context("an instant")?;
    let audit = [&audit[..], &[until]].concat();
    let first = desk.json(&[&audit[..], &["--limit", "1"]].concat()).await?;
    ensure!(first["entries"][0]["outcome"] == "applied", "{first}");
    let page = desk
        .text(0, &[&audit[..], &["--limit", "1"]].concat())
        .await?;
    contains(&page, &["approve", "fine", "there are more: --after "])?;
    let after = first["nextAfter"].as_str().context("a cursor")?;
    let second = desk
        .json(&[&audit[..], &["--after", after]].concat())
        .await?;
    ensure!(second["entries"][0]["outcome"] == "refused", "{second}");
    closed(orchestrator, worker, desk).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_about_many_says_what_is_left() -> Result<()> {
    let (_world, orchestrator, worker, desk) = opened().await?;
    desk.apply(GATE).await?;
    for _ in 0..3 {
        desk.start("gate").await?;
    }
    listed(&desk, "running", 3).await?;
    let page = ["executions", "ls", "--limit", "2"];
    contains(&desk.text(0, &page).await?, &["there are more: --cursor "])?;
    let first = desk.json(&page).await?;
    let cursor = first["nextCursor"].as_str().context("a cursor")?;
    let second = desk
        .json(&[&page[..], &["--cursor", cursor]].concat())
        .await?;
    ensure!(
        second["executions"].as_array().map(Vec::len) == Some(1),
        "{second}"
    );

    let bulk = |arguments: &[&'static str]| -> Vec<&'static str> {
        [&["executions", "bulk"], arguments].concat()
    };
    let by = &[
        "--workflow",
        "gate",
        "--triggered-by",
        "ada",
        "--started-after",
        "2020-01-01T00:00:00Z",
    ];
    let count = bulk(&[&["pause", "--dry-run", "--limit", "1"], &by[..]].concat());
    contains(
        &desk.text(0, &count).await?,
        &["3 executions match; nothing was changed"],
    )?;
    let nobody = bulk(&["cancel", "--triggered-by", "bob", "--dry-run"]);
    contains(&desk.text(0, &nobody).await?, &["0 executions match"])?;

    let pause = bulk(&["pause", "--workflow", "gate", "--limit", "2"]);
    let some = desk.text(1, &pause).await?;
    contains(
        &some,
        &[
            "2 executions: 2 done",
            "others match too: go on with --cursor ",
        ],
    )?;
    let cursor = some.split("--cursor ").nth(1).context("a cursor")?.trim();
    let rest = desk
        .text(0, &[&pause[..], &["--cursor", cursor]].concat())
        .await?;
    contains(&rest, &["1 executions: 1 done"])?;
    let resume = bulk(&["resume", "--workflow", "gate"]);
    contains(&desk.text(0, &resume).await?, &["3 done"])?;

    desk.apply(&GATE.replace("hold", "other")).await?;
    let moved = desk
        .text(1, &bulk(&["move", "--workflow", "gate", "--to", "2"]))
        .await?;
    contains(&moved, &["3 refused", "version.misfit"])?;
    for wrong in [
        &["signal", "--workflow", "gate"][..],
        &["move", "--workflow", "gate"],
        &["move", "--status", "running", "--to", "2"],
    ] {
        desk.text(2, &bulk(wrong)).await?;
    }
    let told = bulk(&[
        "signal",
        "--workflow",
        "gate",
        "--signal",
        "go",
        "--payload",
        "{\"n\":1}",
    ]);
    contains(&desk.text(0, &told).await?, &["3 done"])?;
    listed(&desk, "completed", 3).await?;
    closed(orchestrator, worker, desk).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_shown_with_where_it_holds() -> Result<()> {
    let (_world, orchestrator, worker, desk) = opened().await?;
    desk.apply("name: echo\nsteps: [{ name: say, tool: test.noop }]\n")
        .await?;
    let hold = ["hold", "--workflow", "echo", "--reason", "deploy"];
    contains(&desk.text(0, &hold).await?, &["held"])?;
    contains(&desk.text(0, &hold).await?, &["it was so already"])?;
    let so = |found: &Value| found["holds"][0]["everywhere"] == true;
    desk.json_when(&["holds"], so).await?;
    let holds = desk.text(0, &["holds"]).await?;
    contains(&holds, &["workflow echo", "everywhere", "ada", "deploy"])?;
    let id = desk.start("echo").await?;
    let so = |found: &Value| found["causes"][0]["cause"] == "paused";
    desk.json_when(&["executions", "explain", &id], so).await?;
    let release = ["release", "--workflow", "echo", "--idempotency-key", "k"];
    contains(&desk.text(0, &release).await?, &["released"])?;
    desk.text(0, &["executions", "events", &id]).await?;
    contains(&desk.text(0, &release).await?, &["it was so already"])?;
    // A partition without an owner cannot be asked.
    orchestrator.stop().await?;
    let unknown = desk.run(&["holds"]).await?;
    ensure!(unknown.code == Some(69), "{unknown:?}");
    let audit = desk.text(0, &["audit", "--action", "hold"]).await?;
    contains(&audit, &["hold", &json!({"workflow": "echo"}).to_string()])?;
    desk.close().await?;
    worker.stop().await
}
