//! `concurrency`, `rateLimit` and `debounce`.

use serde_json::{Map, Value, json};

use super::{choice, default, entries, example, integer};
use crate::definition::bound;
use crate::definition::vocabulary::{ON_CONFLICT, SCOPES};

pub(super) fn definitions() -> Map<String, Value> {
    entries(json!({
        "concurrency": {
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "key": key(),
                "scope": scope(),
                "limit": default(1, integer(bound::CONCURRENT, "At most this many run at once.")),
                "onConflict": default("queue", choice(ON_CONFLICT,
                    "What happens to one too many: it waits (`queue`), it is cancelled \
                     (`cancel_newest`), those before it are cancelled (`cancel_running`), or it waits \
                     and takes the place of those that wait (`coalesce`).")),
            },
        },
        "rateLimit": {
            "type": "object",
            "additionalProperties": false,
            "required": ["limit", "periodMs"],
            "properties": {
                "key": key(),
                "scope": scope(),
                "limit": integer(bound::RATE, "At most this many at once, and on average per period."),
                "periodMs": integer(bound::RATE_PERIOD_MS, "The period, in milliseconds."),
            },
        },
        "debounce": {
            "type": "object",
            "additionalProperties": false,
            "required": ["periodMs"],
            "properties": {
                "key": key(),
                "scope": scope(),
                "periodMs": integer(bound::QUIET_MS, "How long it must be quiet, in milliseconds."),
                "maxWaitMs": integer(bound::QUIET_WAIT_MS,
                    "An execution begins this long after the first of its series, even if it is never \
                     quiet. Not shorter than `periodMs`; ten times as long where it is absent."),
            },
        },
    }))
}

/// That one of the limits is as `schema` says.
pub(super) fn any_limit(schema: &Value) -> Value {
    let limits = ["concurrency", "rateLimit", "debounce"];
    let one = |limit: &str| json!({"required": [limit], "properties": {limit: schema}});
    json!({"anyOf": limits.map(one)})
}

fn key() -> Value {
    let description = "What executions contend for, over `input` and `repo`; one key for the whole \
                       workflow where it is absent. All limits of a workflow share one key.";
    example(
        "${repo.owner}/${repo.name}",
        json!({"description": description, "$ref": "#/$defs/shortText"}),
    )
}

fn scope() -> Value {
    default(
        "workflow",
        choice(
            SCOPES,
            "Who shares the key: executions of this workflow, or of every workflow with the scope \
             `global`.",
        ),
    )
}
