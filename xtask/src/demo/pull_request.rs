//! The pull request in the state of the simulated GitHub, for a person.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::text;

/// The newest pull request: title, branch, commit, files.
///
/// # Errors
/// When there is none, or its branch does not exist.
pub(super) fn describe(state: &Value) -> Result<Vec<String>> {
    let pulls = state["pull_requests"]
        .as_array()
        .context("the state lists no pull requests")?;
    let pull = pulls
        .iter()
        .max_by_key(|pull| pull["number"].as_u64())
        .context("the simulated GitHub holds no pull request")?;
    let head = &pull["head"];
    let branch = if head.is_object() {
        text(&head["ref"])
    } else {
        text(head)
    };
    let found = find_branch(state, &branch)
        .with_context(|| format!("the pull request's branch `{branch}` does not exist"))?;
    let base = &pull["base"];
    let base = if base.is_object() {
        text(&base["ref"])
    } else {
        text(base)
    };
    let mut lines = vec![
        format!("#{} {}", text(&pull["number"]), text(&pull["title"])),
        format!("branch  {branch} into {base}"),
    ];
    let commit = [
        &head["sha"],
        &found["sha"],
        &found["commit"]["sha"],
        &found["commit"],
        found,
    ];
    if let Some(sha) = commit.iter().find_map(|value| value.as_str()) {
        lines.push(format!("commit  {sha}"));
    }
    let files = [&pull["files"], &pull["changed_files"], &found["files"]];
    for file in files
        .iter()
        .find_map(|files| files.as_array())
        .into_iter()
        .flatten()
    {
        let name = [&file["filename"], &file["path"], file]
            .into_iter()
            .find_map(Value::as_str);
        lines.push(format!(
            "file    {}",
            name.map_or_else(|| text(file), str::to_owned)
        ));
    }
    Ok(lines)
}

/// Branches are listed by name, or as objects that have one.
fn find_branch<'a>(state: &'a Value, name: &str) -> Option<&'a Value> {
    match &state["branches"] {
        Value::Object(branches) => branches.get(name),
        Value::Array(branches) => branches
            .iter()
            .find(|branch| branch["name"] == name || *branch == name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pull_request_needs_its_branch() {
        let pull = json!({ "number": 2, "title": "Fix", "head": { "ref": "fix", "sha": "abc" },
            "base": { "ref": "main" }, "files": [{ "path": "a.rs" }] });
        let state =
            json!({ "branches": [{ "name": "fix", "sha": "abc" }], "pull_requests": [pull] });
        let lines = describe(&state).expect("a pull request");
        assert_eq!(
            lines,
            [
                "#2 Fix",
                "branch  fix into main",
                "commit  abc",
                "file    a.rs"
            ]
        );
        assert!(describe(&json!({ "branches": [], "pull_requests": [pull] })).is_err());
        assert!(describe(&json!({ "branches": [], "pull_requests": [] })).is_err());
    }
}
