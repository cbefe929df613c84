//! Rules about the text of the source that neither the compiler nor the formatter knows.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Longer than the formatter's width, because it leaves long literals and comments alone.
const LONGEST_LINE: usize = 120;

/// Kinds of files that are read.
const EXTENSIONS: [&str; 5] = ["rs", "toml", "sql", "yaml", "yml"];

/// Clocks and randomness that the standard library offers without any dependency.
const IMPURE: [&str; 5] = [
    "SystemTime::now",
    "Instant::now",
    "Utc::now",
    "Local::now",
    "RandomState",
];
const PURE: &str = "engine/src";

/// Every breach, as `file:line: what`.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    if !root.join("Cargo.lock").is_file() {
        findings.push("Cargo.lock is missing".to_owned());
    }
    for path in files(root)? {
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let shown = path.strip_prefix(root).unwrap_or(&path);
        findings.extend(check_file(shown, &text));
    }
    Ok(findings)
}

fn check_file(path: &Path, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let mut find =
        |line: usize, what: &str| findings.push(format!("{}:{line}: {what}", path.display()));
    let rust = path.extension().is_some_and(|extension| extension == "rs");
    if rust && !text.starts_with("//!") {
        find(1, "does not open with `//!`: purpose, caller, invariants");
    }
    if path.file_name().is_some_and(|name| name == "mod.rs") {
        find(1, "`foo/mod.rs` is written `foo.rs` here");
    }
    if !text.is_empty() && !text.ends_with('\n') {
        find(text.lines().count(), "the last line has no end");
    }
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if line.contains('\t') {
            find(number, "tab");
        }
        if line.ends_with([' ', '\r']) {
            find(number, "trailing whitespace");
        }
        if rust && line.chars().count() > LONGEST_LINE {
            find(number, &format!("longer than {LONGEST_LINE} characters"));
        }
        // In two parts, so that this file keeps its own rule.
        if rust
            && [concat!("todo", "!("), concat!("unimplemented", "!(")]
                .iter()
                .any(|word| line.contains(word))
        {
            find(number, "unfinished");
        }
        let code = line.split("//").next().unwrap_or(line);
        if rust && path.starts_with(PURE) {
            for word in IMPURE.iter().filter(|word| code.contains(*word)) {
                find(
                    number,
                    &format!("`{word}` in the engine: time and chance are inputs"),
                );
            }
        }
    }
    findings
}

/// Our own files: no hidden folders, nothing that is built or downloaded.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
        for entry in entries {
            let entry = entry.context("read a folder")?;
            let (path, kind) = (entry.path(), entry.file_type().context("look at a file")?);
            let name = entry.file_name().to_string_lossy().into_owned();
            let built =
                name == "target" || name == "node_modules" || path.join("CACHEDIR.TAG").exists();
            if kind.is_dir() && !name.starts_with('.') && !built {
                open.push(path);
            } else if kind.is_file() {
                let extension = path.extension().and_then(|extension| extension.to_str());
                if extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) {
                    found.push(path);
                }
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check_file(Path::new(path), text)
    }

    #[test]
    fn each_breach_is_found_at_its_line() {
        assert!(found("a/src/lib.rs", "//! Good.\nfn a() {}\n").is_empty());
        assert_eq!(found("a.rs", "fn a() {}\n").len(), 1);
        assert_eq!(found("a/mod.rs", "//! Good.\n").len(), 1);
        assert_eq!(
            found("a.toml", "a = 1 \n"),
            ["a.toml:1: trailing whitespace"]
        );
        assert_eq!(found("a.toml", "\n\ta = 1\n"), ["a.toml:2: tab"]);
        assert_eq!(found("a.toml", "a = 1").len(), 1);
        assert_eq!(
            found("a.rs", &format!("//! {}\n", "x".repeat(LONGEST_LINE))).len(),
            1
        );
        let clock = "//! Good.\nlet a = Instant::now();\n// Instant::now\n";
        assert_eq!(found("engine/src/a.rs", clock).len(), 1);
        assert!(found("broker/src/a.rs", clock).is_empty());
    }
}
