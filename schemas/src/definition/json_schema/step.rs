//! Steps and what they do.

use serde_json::{Map, Value, json};

use super::{
    choice, default, described, entries, example, flag, integer, object, one_or_more, reference,
    text,
};
use crate::definition::vocabulary::{
    BACKOFFS, CLASSES, DECISIONS, DEFAULT_ALIAS, DEFAULT_SCOPE, ON_TIMEOUT, keys,
};
use crate::definition::{DEFAULT_MAX_PARALLEL, MAX_ITEMS, RetryPolicy, bound};

pub(super) fn definitions() -> Map<String, Value> {
    let runs = json!({"anyOf": [{"required": ["tool"]}, {"required": ["workflow"]}]});
    let only_running: Map<String, Value> = keys::ONLY_RUNNING
        .iter()
        .map(|key| ((*key).to_owned(), runs.clone()))
        .collect();
    let one_action: Vec<Value> = keys::ACTION
        .iter()
        .map(|action| json!({"required": [action]}))
        .collect();
    let mut all_of = vec![reference("toolParams")];
    for (action, key) in keys::ONLY_TIMED {
        all_of.push(json!({
            "if": {
                "required": [action],
                "properties": {*action: {"type": "object", "required": [key]}},
            },
            "then": {"required": ["timeoutMs"]},
        }));
    }
    let step = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["name"],
        "oneOf": one_action,
        "properties": properties(),
        "not": {"required": ["if", "condition"]},
        "dependentRequired": {"params": ["tool"], "as": ["forEach"], "maxParallel": ["forEach"]},
        "dependentSchemas": only_running,
        "allOf": all_of,
    });
    let mut on_failure = step.clone();
    for part in ["properties", "dependentRequired", "dependentSchemas"] {
        if let Some(part) = on_failure[part].as_object_mut() {
            part.retain(|key, _| !keys::ONLY_MAIN.contains(&key.as_str()));
        }
    }
    let mut definitions = entries(json!({
        "step": step,
        "onFailureStep": on_failure,
        "retry": retry(),
        "compensate": compensate(),
        "approval": approval(),
        "waitFor": wait_for(),
        "sleep": sleep(),
        "workflow": workflow(),
    }));
    definitions.extend(entries(json!({
        "sleepFor": {
            "anyOf": [
                integer(bound::SLEEP_MS, "A number of milliseconds."),
                reference("duration"),
                {
                    "description": "A text with an expression that yields one of these.",
                    "type": "string",
                    "pattern": "\\$\\{",
                },
            ],
        },
        "instant": {
            "description": "An RFC 3339 instant, or an expression that yields one.",
            "type": "string",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]+)?\
                        ([Zz]|[+-][0-9]{2}:[0-9]{2})$|\\$\\{",
            "examples": ["2030-01-31T08:00:00Z", "${input.at}"],
        },
    })));
    definitions
}

/// What every step can have; which of it fits together is said beside.
fn properties() -> Map<String, Value> {
    let mut properties = entries(json!({
        "name": described("name", "The step's name, unique in the definition."),
        "tool": described("tool", "The tool a worker runs."),
        "params": object("The tool's parameters; strings in them may hold `${…}`."),
        "approval": described("approval", "People decide. `{}` is one approval by anybody who may."),
        "waitFor": {
            "description": "It waits for a signal.",
            "anyOf": [reference("signal"), reference("waitFor")],
        },
        "sleep": {
            "description": "It waits for an instant: a time like `1d12h`, or an object with one of \
                            `for`, `forMs` and `until`.",
            "anyOf": [reference("sleepFor"), reference("sleep")],
        },
        "workflow": {
            "description": "Another workflow runs: its name, or an object with `name`.",
            "anyOf": [reference("name"), reference("workflow")],
        },
    }));
    properties.extend(entries(json!({
        "assign": described("freeName", "The name under which later expressions find the output."),
        "if": example("${issue.state == 'open'}", described("condition",
            "The step is skipped when this is false: exactly one expression, or `true`/`false`.")),
        "condition": {
            "description": "The old name of `if`.",
            "$ref": "#/$defs/condition",
            "deprecated": true,
        },
        "needs": {
            "description": "Steps it begins after; with `[]` it begins at once.",
            "anyOf": [
                reference("name"),
                {"type": "array", "items": reference("name"), "uniqueItems": true},
            ],
        },
        "forEach": {
            "description": "The step runs once for each item of this list.",
            "anyOf": [{"type": "array", "maxItems": MAX_ITEMS}, reference("expression")],
            "examples": ["${input.files}"],
        },
        "as": default(DEFAULT_ALIAS, described("freeName",
            "The name of the item in expressions; its position is this with `_index` behind.")),
        "maxParallel": default(DEFAULT_MAX_PARALLEL,
            integer(bound::PARALLEL, "How many items run at once.")),
        "retry": described("retry", "What to do when an attempt fails."),
        "timeoutMs": integer(bound::TIMEOUT_MS,
            "Longest time from an attempt's dispatch to its result, in milliseconds; for a step that \
             waits, longest wait."),
        "continueOnError": flag(
            "Steps behind this one run although it failed; `config.continueOnError` where it is \
             absent."),
        "compensate": described("compensate",
            "What undoes the step when the execution fails behind it."),
    })));
    properties
}

fn retry() -> Value {
    let policy = RetryPolicy::default();
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "maxAttempts": default(policy.max_attempts,
                integer(bound::ATTEMPTS, "Attempts in all, the first one included.")),
            "backoff": default("exponential",
                choice(BACKOFFS, "How the delay grows from attempt to attempt.")),
            "backoffMultiplier": {
                "description": "The factor of an exponential backoff.",
                "type": "number",
                "minimum": bound::MULTIPLIER.start(),
                "maximum": bound::MULTIPLIER.end(),
                "default": policy.multiplier,
            },
            "initialDelayMs": default(super::millis(policy.initial_delay),
                integer(bound::INITIAL_DELAY_MS, "The first delay, in milliseconds.")),
            "maxDelayMs": default(super::millis(policy.max_delay),
                integer(bound::MAX_DELAY_MS, "No computed delay is longer, in milliseconds.")),
            "on": example(json!(["retryable", "timeout"]), one_or_more(
                &choice(CLASSES, "A class of errors."),
                "Classes of errors after which another attempt is made; where it is absent, those \
                 that can go away: all but `permanent`.")),
        },
    })
}

fn compensate() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["tool"],
        "properties": {
            "tool": described("tool", "The tool that undoes the step."),
            "params": object("Its parameters; strings in them may hold `${…}`."),
            "retry": described("retry", "What to do when an attempt fails."),
            "timeoutMs": integer(bound::TIMEOUT_MS,
                "Longest time from an attempt's dispatch to its result, in milliseconds."),
        },
        "allOf": [reference("toolParams")],
    })
}

fn approval() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "scope": default(DEFAULT_SCOPE, example("approve:deploy", json!({
                "description": "What a decider's token must be allowed to do.",
                "type": "string",
                "pattern": format!("^approve(:[A-Za-z0-9._-]{{1,{}}})?$", bound::SCOPE_BYTES),
            }))),
            "approvals": default(1, integer(bound::APPROVALS, "How many must approve.")),
            "approvers": one_or_more(&reference("shortText"),
                "Who may decide; everybody with the scope where it is absent."),
            "selfApproval": default(true, flag("Whether who started the execution may decide.")),
            "onExpiry": default("reject", choice(DECISIONS,
                "What it means that nobody decided within the step's `timeoutMs`.")),
            "message": text("Shown to deciders; may hold `${…}`."),
        },
    })
}

fn wait_for() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["signal"],
        "properties": {
            "signal": described("signal", "The signal's name."),
            "filter": example("${signal.ok}", described("expression",
                "A condition on the signal's payload, under `signal`.")),
            "onTimeout": default("fail", choice(ON_TIMEOUT,
                "What it means that nothing came within the step's `timeoutMs`: it fails, or it \
                 completes with the output `null`.")),
        },
    })
}

fn sleep() -> Value {
    let one_of: Vec<Value> = keys::SLEEP
        .iter()
        .map(|key| json!({"required": [key]}))
        .collect();
    json!({
        "type": "object",
        "additionalProperties": false,
        "oneOf": one_of,
        "properties": {
            "for": example("1d12h", described("sleepFor",
                "How long: milliseconds, a duration, or an expression that yields one.")),
            "forMs": integer(bound::SLEEP_MS, "How long, in milliseconds."),
            "until": described("instant", "Until when."),
        },
    })
}

fn workflow() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["name"],
        "properties": {
            "name": described("name", "The workflow's name."),
            "version": integer(bound::VERSION, "Its version; the newest where it is absent."),
            "input": default(json!({}), object("Its input; strings in it may hold `${…}`.")),
            "wait": default(true, flag("Whether the step waits for its end.")),
        },
    })
}
