//! `afu9 executions bulk`: one wish about many executions.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::control::json_argument;
use super::executions::given;
use crate::arguments::Bulk;
use crate::client::Client;
use crate::output::{Output, Tone};

pub(crate) async fn run(bulk: Bulk, client: &Client, output: Output) -> anyhow::Result<ExitCode> {
    let mut body = Map::from_iter([
        ("action".to_owned(), json!(bulk.action.as_str())),
        ("dryRun".to_owned(), json!(bulk.dry_run)),
        ("limit".to_owned(), json!(bulk.limit)),
        ("reason".to_owned(), json!(bulk.reason)),
    ]);
    if let Some(cursor) = &bulk.filter.cursor {
        body.insert("cursor".to_owned(), json!(cursor));
    }
    let filter = given(bulk.filter).map(|(name, value)| (name.to_owned(), json!(value)));
    body.insert("filter".to_owned(), Value::Object(filter.collect()));
    if let Some(name) = &bulk.signal {
        let payload = bulk.payload.as_deref().map(json_argument).transpose()?;
        let signal = json!({ "name": name, "payload": payload });
        body.insert("signal".to_owned(), signal);
    }
    if let Some(version) = bulk.to {
        body.insert("version".to_owned(), json!(version));
    }
    let path = "/api/executions/bulk";
    let answer = client.post(path, &Value::Object(body), &bulk.key).await?;
    output.json(&answer);
    if bulk.dry_run {
        tell_count("executions", &answer, output);
    } else {
        tell("executions", &answer, output);
    }
    Ok(if is_all(&answer) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// How many of `what` match.
pub(super) fn tell_count(what: &str, answer: &Value, output: Output) {
    let least = if answer["exact"] == true {
        ""
    } else {
        "at least "
    };
    let matched = &answer["matched"];
    output.text(format!(
        "{least}{matched} {what} match; nothing was changed"
    ));
    tell_incomplete(answer, output);
}

/// What came of a wish about many of `what`.
pub(super) fn tell(what: &str, answer: &Value, output: Output) {
    output.text(format!(
        "{} {what}: {} done, {} unchanged, {} refused, {} stored and not decided yet, {} failed",
        answer["matched"],
        answer["applied"],
        answer["unchanged"],
        answer["refused"],
        answer["pending"],
        answer["failed"],
    ));
    for failure in answer["failures"].as_array().into_iter().flatten() {
        let text = |key: &str| failure[key].as_str().unwrap_or("-");
        output.text(format!("  {}: {}", text("id"), text("code")));
    }
    if let Some(cursor) = answer["nextCursor"].as_str() {
        let more = output.paint(Tone::Waiting, "others match too:");
        output.text(format!("{more} go on with --cursor {cursor}"));
    }
    tell_incomplete(answer, output);
}

fn tell_incomplete(answer: &Value, output: Output) {
    if answer["incomplete"] == true {
        let warning = output.paint(Tone::Bad, "incomplete:");
        output.text(format!(
            "{warning} some partitions or the database did not answer, so others may match"
        ));
    }
}

/// Whether nothing is left to do: all that match were dealt with, and nobody was missed.
pub(super) fn is_all(answer: &Value) -> bool {
    let none = |key: &str| answer[key].as_u64().unwrap_or(0) == 0;
    let nothing_left = answer["nextCursor"].is_null() && answer["incomplete"] != true;
    nothing_left && ["refused", "pending", "failed"].into_iter().all(none)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_all_only_if_nobody_is_left() {
        let all = json!({"matched": 3, "applied": 2, "unchanged": 1, "refused": 0, "pending": 0,
            "failed": 0, "nextCursor": null, "incomplete": false});
        assert!(is_all(&all));
        assert!(is_all(
            &json!({"dryRun": true, "matched": 3, "incomplete": false})
        ));
        for (key, value) in [
            ("refused", json!(1)),
            ("pending", json!(1)),
            ("failed", json!(1)),
            ("nextCursor", json!("c")),
            ("incomplete", json!(true)),
        ] {
            let mut some = all.clone();
            some[key] = value;
            assert!(!is_all(&some), "{key}");
        }
    }
}
