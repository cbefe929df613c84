//! The definition language as a JSON Schema, for editors: completion, hover, and the gross mistakes
//! while typing.
//!
//! It takes its keys, words and bounds from the reader, and accepts whatever the reader accepts. Not all
//! that it accepts is right: names that must be different, `needs` without a cycle, limits that must
//! agree, dates that there are, and what stands inside `${…}` only the reader and the engine see.
//! `schemas/definition.schema.json` is its text.

mod flow;
mod step;
mod tool;
mod trigger;

use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use super::read::COMPARISON;
use super::vocabulary::{DIALECT, words};
use super::{
    DEFAULT_CLEANUP_TIMEOUT, DEFAULT_EXECUTION_TIMEOUT, MAX_STEPS, RESERVED_ROOTS, RetryPolicy,
    bound, duration,
};

/// The definition language as a JSON Schema (2020-12). Parameters are checked against the tool that
/// a step names; a value with an expression in it is checked when it has a value.
pub fn json_schema() -> Value {
    let mut definitions = Map::new();
    definitions.extend(basics());
    definitions.extend(flow::definitions());
    definitions.extend(trigger::definitions());
    definitions.extend(step::definitions());
    definitions.extend(tool::definitions());
    json!({
        "$schema": DIALECT,
        "$comment": "Generated. `AFU9_GOLDEN=write cargo test -p afu9-schemas --test definition` \
                     writes it anew.",
        "title": "AFU-9 workflow definition",
        "description": "A workflow: a named set of steps, what starts it and what bounds it.",
        "type": "object",
        "required": ["name", "steps"],
        "additionalProperties": false,
        "properties": {
            "name": described("name", "The workflow's name."),
            "description": text("What it is for, for people."),
            "inputSchema": described("inputSchema",
                "JSON Schema (2020-12) of the input. An input that does not fit it starts nothing; \
                 `default`s fill in what is absent."),
            "on": {
                "description": "What starts executions by itself. Each item has exactly one of \
                                `webhook`, `schedule` and `workflow`.",
                "type": "array",
                "maxItems": bound::TRIGGERS,
                "items": reference("trigger"),
            },
            "concurrency": described("concurrency",
                "How many executions with the same key run at once."),
            "rateLimit": described("rateLimit",
                "How many executions with the same key begin in a time."),
            "debounce": described("debounce",
                "How long no other execution with the same key may have been submitted before one \
                 begins. Earlier ones are cancelled in favour of the last."),
            "priority": {
                "description": "Among executions that wait, those with a higher one begin first.",
                "type": "integer",
                "minimum": bound::PRIORITY.start(),
                "maximum": bound::PRIORITY.end(),
                "default": 0,
            },
            "steps": {
                "description": "What is done. One after the other, unless any step has `needs`: then \
                                each begins as soon as those it needs have ended.",
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_STEPS,
                "items": reference("step"),
            },
            "onFailure": {
                "description": "Steps that run, one after the other, when the execution has failed. \
                                They find out why under `failure`.",
                "type": "array",
                "maxItems": MAX_STEPS,
                "items": reference("onFailureStep"),
            },
            "output": {
                "description": "The execution's output; strings in it may hold `${…}`. Without it, an \
                                object with every assigned name.",
                "examples": [{"url": "${pull_request.html_url}"}],
            },
            "config": described("config", "What holds for an execution as a whole."),
        },
        "if": flow::any_limit(&json!({"required": ["scope"], "properties": {"scope": {"const": "global"}}})),
        "then": flow::any_limit(&json!({"required": ["key"]})),
        "$defs": definitions,
    })
}

/// What many parts of the language are made of.
fn basics() -> Map<String, Value> {
    entries(json!({
        "name": {
            "description": "A lower-case letter, then lower-case letters, digits, `_`.",
            "type": "string",
            "pattern": "^[a-z][a-z0-9_]*$",
            "maxLength": bound::NAME_BYTES,
        },
        "freeName": {
            "description": "A name that means nothing else in expressions.",
            "$ref": "#/$defs/name",
            "not": {"enum": RESERVED_ROOTS},
        },
        "condition": {
            "description": "Exactly one expression, or `true` or `false`; or one comparison as the \
                            predecessor had them, `${a} === 'b'`.",
            "anyOf": [
                {"type": "boolean"},
                {"type": "string", "pattern": "^\\s*(true|false)\\s*$"},
                reference("expression"),
                {"type": "string", "pattern": COMPARISON},
            ],
        },
        "shortText": {
            "description": "A text of one line.",
            "type": "string",
            "pattern": "^[^\\n\\r]*\\S[^\\n\\r]*$",
            "maxLength": bound::SHORT_BYTES,
        },
        "expression": {
            "description": "Exactly one CEL expression in `${…}`.",
            "type": "string",
            "pattern": "^\\s*\\$\\{[\\s\\S]*\\}\\s*$",
            "examples": ["${input.n > 3}"],
        },
        "holdsExpression": {
            "description": "A value with `${…}` somewhere in it.",
            "anyOf": [
                {"type": "string", "pattern": "\\$\\{"},
                {"type": "array", "contains": reference("holdsExpression")},
                {
                    "type": "object",
                    "not": {"additionalProperties": {"not": reference("holdsExpression")}},
                },
            ],
        },
        "duration": {
            "description": "Whole numbers with the units `w`, `d`, `h`, `m`, `s`, `ms`, longer ones \
                            first.",
            "type": "string",
            "pattern": duration::PATTERN,
            "examples": ["90s", "1d12h30m"],
        },
        "inputSchema": {
            "type": "object",
            "allOf": [{"$ref": DIALECT}],
            "properties": {
                "$schema": {"const": DIALECT},
                "type": {"const": "object"},
            },
        },
        "config": {
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "continueOnError": default(false, flag(
                    "Go on after a failed step, wherever the step does not say.")),
                "timeoutMs": default(millis(DEFAULT_EXECUTION_TIMEOUT), integer(bound::TIMEOUT_MS,
                    "Longest time from the start to the end, in milliseconds. The default is a year \
                     where a step is an approval, a `waitFor`, a `sleep` or a `workflow`.")),
                "cleanupTimeoutMs": default(millis(DEFAULT_CLEANUP_TIMEOUT), integer(
                    bound::TIMEOUT_MS,
                    "Longest time for compensations and `onFailure` steps together, in \
                     milliseconds. The default is a year where a step of `onFailure` is an approval, \
                     a `waitFor`, a `sleep` or a `workflow`.")),
                "maxRetries": default(RetryPolicy::default().max_attempts - 1,
                    integer(bound::RETRIES,
                    "Attempts of steps without a `retry` of their own, less one; more than 9 are 9.")),
                "debugMode": {"description": "Without effect.", "deprecated": true},
            },
        },
    }))
}

fn entries(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}")})
}

/// A reference with a description of its own, which editors show in place of the general one.
fn described(name: &str, description: &str) -> Value {
    json!({"description": description, "$ref": format!("#/$defs/{name}")})
}

fn text(description: &str) -> Value {
    json!({"description": description, "type": "string"})
}

fn flag(description: &str) -> Value {
    json!({"description": description, "type": "boolean"})
}

fn integer(range: RangeInclusive<u64>, description: &str) -> Value {
    json!({
        "description": description,
        "type": "integer",
        "minimum": range.start(),
        "maximum": range.end(),
    })
}

fn object(description: &str) -> Value {
    json!({"description": description, "type": "object"})
}

/// One of the words of `choices`.
fn choice<T>(choices: &[(&str, T)], description: &str) -> Value {
    json!({"description": description, "enum": words(choices)})
}

/// `item`, or a list of different ones.
fn one_or_more(item: &Value, description: &str) -> Value {
    json!({
        "description": description,
        "anyOf": [
            item,
            {"type": "array", "items": item, "minItems": 1, "uniqueItems": true},
        ],
    })
}

fn default(value: impl Into<Value>, mut schema: Value) -> Value {
    schema["default"] = value.into();
    schema
}

fn example(value: impl Into<Value>, mut schema: Value) -> Value {
    schema["examples"] = json!([value.into()]);
    schema
}

fn millis(duration: std::time::Duration) -> Value {
    json!(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::vocabulary::keys;
    use super::*;

    fn properties(schema: &Value) -> Vec<&str> {
        let mut names: Vec<&str> = schema["properties"]
            .as_object()
            .expect("an object's schema")
            .keys()
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        names
    }

    fn sorted<'a>(keys: &[&'a str]) -> Vec<&'a str> {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn the_schema_and_the_reader_know_the_same_keys() {
        let schema = json_schema();
        let on_failure: Vec<&str> = keys::STEP
            .iter()
            .copied()
            .filter(|key| !keys::ONLY_MAIN.contains(key))
            .collect();
        assert_eq!(properties(&schema), sorted(keys::DEFINITION));
        for (name, known) in [
            ("config", keys::CONFIG),
            ("concurrency", keys::CONCURRENCY),
            ("rateLimit", keys::RATE_LIMIT),
            ("debounce", keys::DEBOUNCE),
            ("trigger", keys::TRIGGER),
            ("webhook", keys::WEBHOOK),
            ("schedule", keys::SCHEDULE),
            ("after", keys::AFTER),
            ("step", keys::STEP),
            ("onFailureStep", &on_failure),
            ("retry", keys::RETRY),
            ("compensate", keys::COMPENSATE),
            ("approval", keys::APPROVAL),
            ("waitFor", keys::WAIT_FOR),
            ("sleep", keys::SLEEP),
            ("workflow", keys::WORKFLOW),
        ] {
            let schema = &schema["$defs"][name];
            assert_eq!(properties(schema), sorted(known), "{name}");
            assert_eq!(schema["additionalProperties"], false, "{name}");
        }
    }

    #[test]
    fn everything_that_can_be_written_is_described() {
        let schema = json_schema();
        let mut objects = vec![("", &schema)];
        for (name, definition) in schema["$defs"].as_object().expect("definitions") {
            if definition.get("properties").is_some() && name != "inputSchema" {
                objects.push((name, definition));
            }
        }
        for (name, object) in objects {
            for (key, property) in object["properties"].as_object().expect("properties") {
                assert!(property["description"].is_string(), "{name}.{key}");
            }
        }
    }
}
