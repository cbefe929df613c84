//! What the reference of the language shows runs, and comes out as it says.
//!
//! A runnable example is one or more blocks ` ```yaml run `, each a whole definition, and then a block
//! ` ```json expect ` (see `expectation`). All definitions are applied before the orchestrator starts, and
//! the examples run side by side. Every other block ` ```yaml ` must compile.

mod expectation;
mod page;
mod play;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use afu9_engine::workflow::compile;
use afu9_schemas::definition::ReadOptions;
use anyhow::{Context, Result, ensure};
use expectation::Expectation;
use futures::future::join_all;
use page::{Example, Page};
use serde_json::Value;

use crate::world::World;

/// What has to have an example, and where a definition says that it uses it; `*` is any key or
/// position.
const FEATURES: &[(&str, &str)] = &[
    ("needs", "/steps/*/needs"),
    ("forEach", "/steps/*/forEach"),
    ("approval", "/steps/*/approval"),
    ("waitFor", "/steps/*/waitFor"),
    ("sleep", "/steps/*/sleep"),
    ("workflow", "/steps/*/workflow"),
    ("if", "/steps/*/if"),
    ("onFailure", "/onFailure/*"),
    ("compensate", "/steps/*/compensate"),
    ("timeoutMs", "/steps/*/timeoutMs"),
    ("config.timeoutMs", "/config/timeoutMs"),
    ("output", "/output"),
    ("inputSchema", "/inputSchema"),
    ("concurrency", "/concurrency"),
    ("rateLimit", "/rateLimit"),
    ("debounce", "/debounce"),
    ("priority", "/priority"),
    ("retry.on", "/steps/*/retry/on"),
    ("continueOnError", "/steps/*/continueOnError"),
    ("on.schedule", "/on/*/schedule"),
    ("on.webhook", "/on/*/webhook"),
    ("on.workflow", "/on/*/workflow"),
];

/// The pages of the language, and the one that shows it first.
fn pages() -> Result<Vec<Page>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = vec![root.join("docs/definitions.md"), root.join("README.md")];
    if let Ok(folder) = std::fs::read_dir(root.join("docs/definitions")) {
        for entry in folder {
            files.push(entry?.path());
        }
    }
    files.sort();
    let read = |file: &std::path::PathBuf| -> Result<Page> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        Page::read(&name, &text)
    };
    files.iter().map(read).collect()
}

fn examples() -> Result<Vec<Example>> {
    let examples: Vec<Example> = pages()?
        .into_iter()
        .flat_map(|page| page.examples)
        .collect();
    ensure!(!examples.is_empty(), "no examples: is the page still read?");
    Ok(examples)
}

#[test]
fn every_definition_in_the_docs_compiles() -> Result<()> {
    for page in pages()? {
        let in_examples = page
            .examples
            .iter()
            .flat_map(|example| &example.definitions);
        for block in in_examples.chain(&page.others) {
            compile(&block.text, ReadOptions::default())
                .map_err(|mistakes| anyhow::anyhow!("{}: {mistakes:#?}", block.place))?;
        }
    }
    Ok(())
}

#[test]
fn every_feature_has_an_example() -> Result<()> {
    let mut shown = BTreeSet::new();
    for example in examples()? {
        for block in &example.definitions {
            let definition = block.compiled()?.value;
            let features = FEATURES
                .iter()
                .filter(|(_, at)| uses(&definition, at))
                .map(|(name, _)| *name);
            shown.extend(features);
        }
    }
    let missing: Vec<&str> = FEATURES
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !shown.contains(name))
        .collect();
    assert_eq!(missing, [""; 0], "without an example");
    Ok(())
}

fn uses(definition: &Value, at: &str) -> bool {
    let mut found = vec![definition];
    for key in at.split('/').skip(1) {
        found = found
            .into_iter()
            .flat_map(|value| match (value, key) {
                (Value::Array(items), "*") => items.iter().collect(),
                (Value::Object(fields), "*") => fields.values().collect(),
                _ => value.get(key).into_iter().collect::<Vec<_>>(),
            })
            .collect();
    }
    !found.is_empty()
}

/// `AFU9_GOLDEN=write` writes the page anew.
#[test]
fn the_page_of_functions_is_what_there_is() -> Result<()> {
    let reference = afu9_engine::expression::reference();
    let page = format!(
        "<!-- Generated: `AFU9_GOLDEN=write cargo test -p afu9 --test core docs` writes it anew. -->\n\
         {reference}"
    );
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/definitions/functions.md");
    if option_env!("AFU9_GOLDEN") == Some("write") {
        std::fs::write(&file, &page)?;
    }
    let found = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    assert_eq!(found, page);
    Ok(())
}

/// Names of workflows are global: two examples with one name would run each other's definition.
#[test]
fn examples_do_not_share_names() -> Result<()> {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for example in examples()? {
        let mut own = BTreeSet::new();
        for block in &example.definitions {
            own.insert(block.compiled()?.workflow.definition.name);
        }
        for name in own {
            if let Some(before) = seen.insert(name.clone(), example.place.clone()) {
                anyhow::bail!("{}: `{name}` is also at {before}", example.place);
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_in_the_docs_runs_as_it_says() -> Result<()> {
    let world = World::start().await?;
    let mut plays = Vec::new();
    for example in examples()? {
        if let Expectation::Runs(runs) = &example.expectation {
            let mut applied = Vec::new();
            for block in &example.definitions {
                applied.push(world.apply(&block.text).await?);
            }
            plays.push((example.place.clone(), applied, runs.clone()));
        }
    }
    ensure!(!plays.is_empty(), "no example runs");
    // Only now, so that it knows from the start which workflow follows which.
    let orchestrator = world.orchestrator();
    let worker = world.worker();
    let played = plays.iter().map(|(place, applied, runs)| {
        let play = play::play(&world, applied, runs);
        async move { (place, play.await) }
    });
    let mut wrong = Vec::new();
    for (place, outcome) in join_all(played).await {
        if let Err(error) = outcome {
            wrong.push(format!("{place}: {error:#}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    world.assert_history_is_gapless();
    worker.stop().await?;
    orchestrator.stop().await?;
    Ok(())
}
