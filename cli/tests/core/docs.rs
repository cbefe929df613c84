//! What the reference of the language shows runs, and comes out as it says.
//!
//! A runnable example is one or more blocks ` ```yaml run `, each a whole definition, and then a block
//! ` ```json expect ` (see `expectation`). All definitions are applied before the orchestrator starts, and
//! the examples run side by side. Every other block ` ```yaml ` must compile.

mod codes;
mod expectation;
mod gateway;
mod page;
mod play;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use afu9_engine::workflow::compile;
use afu9_schemas::WorkerKind;
use afu9_schemas::definition::{ReadOptions, json_schema};
use afu9_workers::tool::Toolbox;
use anyhow::{Context, Result, ensure};
use futures::future::join_all;
use gateway::Gateway;
use page::{Example, Page};
use serde_json::{Value, json};

use crate::world::World;

/// Every key of the language, as a JSON pointer into a definition in which `*` is any position: taken from
/// the JSON Schema, which has the keys of the reader, so that a new key needs an example.
fn keys() -> BTreeSet<String> {
    let schema = json_schema();
    let mut keys = BTreeSet::new();
    keys_below(&schema, &schema, "", &mut keys);
    keys
}

fn keys_below(root: &Value, object: &Value, at: &str, keys: &mut BTreeSet<String>) {
    // What stands twice in the language is shown once: the steps of `onFailure` are steps, and what
    // undoes one is retried as it is.
    if matches!(at, "/onFailure/*" | "/steps/*/compensate/retry") {
        return;
    }
    for (key, property) in object["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}/{key}");
        for (below, object) in objects(root, property, &at) {
            keys_below(root, object, &below, keys);
        }
        keys.insert(at);
    }
}

/// The objects of the language that a property can be or hold, each with its pointer.
fn objects<'s>(root: &'s Value, schema: &'s Value, at: &str) -> Vec<(String, &'s Value)> {
    let mut found = Vec::new();
    if let Some(target) = schema["$ref"]
        .as_str()
        .and_then(|r| r.strip_prefix("#/$defs/"))
    {
        // What tools take is theirs.
        if !target.contains('.') {
            found.extend(objects(root, &root["$defs"][target], at));
        }
    }
    for one in schema["anyOf"].as_array().into_iter().flatten() {
        found.extend(objects(root, one, at));
    }
    if schema.get("items").is_some() {
        found.extend(objects(root, &schema["items"], &format!("{at}/*")));
    }
    if schema["additionalProperties"] == false {
        found.push((at.to_owned(), schema));
    }
    found
}

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
fn every_key_has_an_example_that_runs() -> Result<()> {
    let keys = keys();
    assert!(keys.len() > 80, "{keys:?}");
    let mut shown: BTreeSet<&String> = BTreeSet::new();
    for example in examples()? {
        for block in &example.definitions {
            let definition = block.compiled()?.value;
            shown.extend(keys.iter().filter(|key| uses(&definition, key)));
        }
    }
    let missing: Vec<&String> = keys.iter().filter(|key| !shown.contains(key)).collect();
    assert!(missing.is_empty(), "without an example: {missing:#?}");
    Ok(())
}

#[test]
fn every_definition_in_the_docs_fits_the_json_schema() -> Result<()> {
    let schema = jsonschema::draft202012::options()
        .offline()
        .build(&json_schema())?;
    for page in pages()? {
        let in_examples = page
            .examples
            .iter()
            .flat_map(|example| &example.definitions);
        for block in in_examples.chain(&page.others) {
            let value = block.compiled()?.value;
            let mistakes: Vec<String> = schema
                .iter_errors(&value)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            ensure!(mistakes.is_empty(), "{}: {mistakes:#?}", block.place);
        }
    }
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

/// Tools of GitHub that only answer.
fn octo() -> Result<Toolbox> {
    let toolbox = Toolbox::new(WorkerKind::new("github")?)
        .with("getIssue", |_call, params: Value| async move {
            let (number, labels) = (&params["number"], ["afu9"]);
            Ok(json!({ "number": number, "title": "It fails", "state": "open", "labels": labels }))
        })
        .with("addComment", |_call, params: Value| async move {
            Ok(json!({ "id": 1, "html_url": "https://github.com/", "of": params["number"] }))
        });
    Ok(toolbox)
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
        let mut applied = Vec::new();
        for block in &example.definitions {
            applied.push(world.apply(&block.text).await?);
        }
        plays.push((example.place.clone(), applied, example.runs.clone()));
    }
    ensure!(!plays.is_empty(), "no example runs");
    // Only now, so that it knows from the start which workflow follows which.
    let orchestrator = world.orchestrator();
    let worker = world.worker();
    let octo = world.worker_with(octo()?);
    let gateway = Gateway::start(&world).await?;
    let played = plays.iter().map(|(place, applied, runs)| {
        let play = play::play(&world, &gateway, applied, runs);
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
    gateway.stop().await?;
    octo.stop().await?;
    worker.stop().await?;
    orchestrator.stop().await?;
    Ok(())
}
