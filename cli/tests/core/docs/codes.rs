//! The codes of errors in the docs are those in the sources, and the other way round.
//!
//! A code is a text `family.what` in the sources. Its family is known from the docs, so that other texts
//! with a point are none; a new family shows when its first code is documented.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where codes are made.
const CRATES: [&str; 6] = [
    "broker",
    "engine",
    "gateway",
    "history",
    "orchestrator",
    "workers",
];

/// Pages that list them.
const PAGES: [&str; 3] = [
    "errors.md",
    "definitions/failure.md",
    "definitions/control.md",
];

/// Texts that look like codes of a family and are not: places of expressions, tools, settings, SQL.
const OTHERS: [&str; 11] = [
    "approval.message",
    "github.app_id",
    "github.getIssue",
    "github.token",
    "input.x",
    "signal.name",
    "sleep.for",
    "sleep.until",
    "test.echo",
    "test.noop",
    "workflow.input",
];

/// Made only where a value was lost that cannot be lost.
const IMPOSSIBLE: [&str; 1] = ["step.failed"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The pieces of `text` between `open` and `close` that have the form of a code.
fn codes_between(text: &str, mark: char) -> BTreeSet<String> {
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
    let is_code = |piece: &&str| {
        piece
            .split_once('.')
            .is_some_and(|(family, what)| is_word(family) && is_word(what))
    };
    text.lines()
        .flat_map(|line| line.split(mark))
        .filter(is_code)
        .map(str::to_owned)
        .collect()
}

fn sources(folder: &Path, found: &mut String) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let is_test = path.file_stem().is_some_and(|name| name == "tests");
        if path.is_dir() && !is_test {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            found.push_str(&std::fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

/// Those in the first column of a table whose heading is `code`.
fn documented() -> Result<BTreeSet<String>> {
    let mut codes = BTreeSet::new();
    for page in PAGES {
        let text = std::fs::read_to_string(root().join("docs").join(page))?;
        let mut in_table = false;
        for line in text.lines() {
            in_table = line.starts_with("| code |") || (in_table && line.starts_with('|'));
            if in_table && let Some(first) = line.split('|').nth(1) {
                codes.extend(codes_between(first, '`'));
            }
        }
    }
    Ok(codes)
}

#[test]
fn every_code_is_documented_and_every_documented_code_is_there() -> Result<()> {
    let mut text = String::new();
    for name in CRATES {
        sources(&root().join(name).join("src"), &mut text)?;
    }
    let written = codes_between(&text, '"');
    let documented = documented()?;
    assert!(documented.len() > 90, "{documented:?}");
    let gone: Vec<&String> = documented.difference(&written).collect();
    assert!(gone.is_empty(), "documented, and not there: {gone:?}");
    let family = |code: &str| code.split('.').next().map(str::to_owned);
    let families: BTreeSet<Option<String>> = documented.iter().map(|code| family(code)).collect();
    let missing: Vec<&String> = written
        .difference(&documented)
        .filter(|code| families.contains(&family(code)))
        .filter(|code| !OTHERS.contains(&code.as_str()) && !IMPOSSIBLE.contains(&code.as_str()))
        .collect();
    assert!(missing.is_empty(), "not documented: {missing:?}");
    Ok(())
}
