//! The binary by itself: what needs no server, or finds none.

use std::path::{Path, PathBuf};

use afu9_servers::fixture::nats_process;
use afu9_servers::{RunDirectory, free_port, target_dir};
use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::harness::command::afu9;
use crate::harness::definition::ISSUE_TO_PR;

/// Five mistakes, each on a line of its own.
const MISTAKEN: &str = "\
name: Not A Name
steps:
  - name: fetch
    tool: github.getIsue
  - name: fetch
    tool: test.noop
    retry: { maxAttempts: 11 }
    asign: x
";

/// Line and column of each.
const PLACES: [(u64, u64); 5] = [(1, 7), (4, 11), (5, 11), (7, 27), (8, 12)];

/// A directory with the file, for as long as the first value lives.
fn file(name: &str, text: &str) -> Result<(RunDirectory, PathBuf)> {
    let directory = RunDirectory::temporary(&target_dir().join("afu9/e2e-files"), "files")?;
    let path = directory.path().join(name);
    std::fs::write(&path, text)?;
    Ok((directory, path))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

#[tokio::test]
async fn every_mistake_of_a_definition_is_printed_with_its_place() -> Result<()> {
    let (_directory, path) = file("mistaken.yaml", MISTAKEN)?;
    let ended = afu9(&[], &["workflows", "validate", text(&path)]).await?;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines.len(), PLACES.len(), "{ended:?}");
    for (shown, (line, column)) in lines.iter().zip(PLACES) {
        let place = format!("{}:{line}:{column}: ", path.display());
        assert!(shown.starts_with(&place), "{shown} is not at {place}");
    }

    let ended = afu9(
        &[],
        &["--output", "json", "workflows", "validate", text(&path)],
    )
    .await?;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let answer = ended.json()?;
    assert_eq!(
        (&answer["valid"], &answer["file"]),
        (&false.into(), &text(&path).into())
    );
    let errors = answer["errors"].as_array().context("errors")?;
    let places: Vec<(u64, u64)> = errors
        .iter()
        .filter_map(|error| Some((error["line"].as_u64()?, error["column"].as_u64()?)))
        .collect();
    assert_eq!(places, PLACES, "{answer}");
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    assert!(
        errors
            .iter()
            .all(|e| is_text(&e["path"]) && is_text(&e["message"])),
        "{answer}"
    );
    Ok(())
}

#[tokio::test]
async fn a_good_definition_is_valid_also_beside_a_bad_one() -> Result<()> {
    let (_good, good) = file("good.yaml", ISSUE_TO_PR)?;
    let (_bad, bad) = file("bad.yaml", MISTAKEN)?;
    let ended = afu9(&[], &["workflows", "validate", text(&good)]).await?;
    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (Some(0), ""),
        "{ended:?}"
    );
    let both = [
        "--output",
        "json",
        "workflows",
        "validate",
        text(&bad),
        text(&good),
    ];
    let ended = afu9(&[], &both).await?;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let answers = ended.json_lines()?;
    let valid: Vec<&Value> = answers.iter().map(|answer| &answer["valid"]).collect();
    assert_eq!(valid, [&Value::from(false), &Value::from(true)]);
    assert_eq!(answers[1]["workflow"], "issue_to_pr");
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() -> Result<()> {
    let ended = afu9(&[], &["workflows", "validate", "no-such-file.yaml"]).await?;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("no-such-file.yaml"), "{ended:?}");
    Ok(())
}

#[tokio::test]
async fn completions_are_printed_for_every_shell() -> Result<()> {
    for shell in ["bash", "zsh", "fish"] {
        let ended = afu9(&[], &["completions", shell]).await?;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(
            ended.stdout.contains("afu9") && ended.stdout.contains("workflows"),
            "{shell}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn an_unknown_setting_is_named_before_anything_is_started() -> Result<()> {
    let environment = [
        (
            "AFU9_NATS__ULR".to_owned(),
            "nats://127.0.0.1:4222".to_owned(),
        ),
        ("AFU9_WORKER__SLOTS".to_owned(), "many".to_owned()),
    ];
    for command in [
        &["dev"][..],
        &["executions", "ls"],
        &["worker", "--kinds", "github"],
    ] {
        let ended = afu9(&environment, command).await?;
        assert_eq!(ended.code, Some(64), "{command:?}: {ended:?}");
        for name in ["AFU9_NATS__ULR", "AFU9_WORKER__SLOTS"] {
            assert!(
                ended.stderr.contains(name),
                "{command:?} does not name {name}: {ended:?}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn doctor_says_that_nats_is_away_and_which_setting_says_where() -> Result<()> {
    let url = format!("nats://127.0.0.1:{}", free_port()?);
    let environment = [("AFU9_NATS__URL".to_owned(), url.clone())];
    let ended = afu9(&environment, &["--output", "json", "doctor"]).await?;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let answer = ended.json()?;
    assert_eq!(answer["healthy"], false);
    let checks = answer["checks"].as_array().context("checks")?;
    let nats = checks
        .iter()
        .find(|check| check["name"] == "nats")
        .context("nats")?;
    assert_eq!(nats["status"], "error", "{nats}");
    let message = nats["message"].as_str().context("a message")?;
    assert!(message.contains(&url), "{message}");
    assert!(message.contains("AFU9_NATS__URL"), "{message}");
    let text = afu9(&environment, &["doctor"]).await?;
    assert_eq!(text.code, Some(1), "{text:?}");
    assert!(text.stdout.contains("AFU9_NATS__URL"), "{text:?}");
    Ok(())
}

/// The three set-ups: as NATS comes, for mode `durable`, and with an interval that lacks its quotes.
#[tokio::test]
async fn doctor_tells_whether_the_server_syncs_as_configured() -> Result<()> {
    let cases = [
        ("", [("fast", "ok"), ("durable", "error")]),
        ("always", [("fast", "warning"), ("durable", "ok")]),
        ("2m", [("fast", "error"), ("durable", "error")]),
    ];
    for (interval, modes) in cases {
        let port = free_port()?;
        let store = RunDirectory::temporary(&target_dir().join("afu9/e2e-files"), "store")?;
        let sync = match interval {
            "" => String::new(),
            // It stands for the one that the server would have had.
            interval => format!(
                "jetstream {{ store_dir: {:?}, sync_interval: {interval} }}\n",
                store.path()
            ),
        };
        let nats = nats_process(&format!("http: \"127.0.0.1:{port}\"\n{sync}"))?;
        for (mode, expected) in modes {
            let environment = [
                ("AFU9_NATS__URL".to_owned(), nats.url.clone()),
                ("AFU9_NATS__DURABILITY".to_owned(), mode.to_owned()),
                (
                    "AFU9_NATS__MONITOR_URLS".to_owned(),
                    format!("http://127.0.0.1:{port}/"),
                ),
            ];
            let ended = afu9(&environment, &["--output", "json", "doctor"]).await?;
            let answer = ended.json()?;
            let checks = answer["checks"].as_array().context("checks")?;
            let found = checks.iter().find(|check| check["name"] == "durability");
            let found = found.context("durability")?;
            assert_eq!(found["status"], expected, "{interval}, {mode}: {found}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_command_without_a_gateway_says_where_it_looked() -> Result<()> {
    let url = format!("http://127.0.0.1:{}", free_port()?);
    let environment = [("AFU9_API__URL".to_owned(), url.clone())];
    let ended = afu9(&environment, &["workflows", "ls"]).await?;
    assert_eq!(ended.code, Some(69), "{ended:?}");
    assert!(
        ended.stderr.contains(&url) && ended.stderr.contains("AFU9_API__URL"),
        "{ended:?}"
    );
    Ok(())
}
