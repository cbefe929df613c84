//! `on`.

use serde_json::{Map, Value, json};

use super::{
    choice, default, described, entries, example, flag, integer, object, one_or_more, reference,
};
use crate::definition::bound;
use crate::definition::vocabulary::{DEFAULT_SOURCE, DEFAULT_TIMEZONE, ENDS, MISSED, keys};

pub(super) fn definitions() -> Map<String, Value> {
    let one_of: Vec<Value> = keys::TRIGGER
        .iter()
        .map(|key| json!({"required": [key]}))
        .collect();
    entries(json!({
        "trigger": {
            "type": "object",
            "additionalProperties": false,
            "oneOf": one_of,
            "properties": {
                "webhook": described("webhook", "Webhook deliveries start an execution."),
                "schedule": described("schedule", "Instants start an execution."),
                "workflow": described("after", "Ends of executions of another workflow start one."),
            },
        },
        "webhook": webhook(),
        "schedule": schedule(),
        "after": {
            "type": "object",
            "additionalProperties": false,
            "required": ["name"],
            "properties": {
                "name": described("name", "The other workflow."),
                "status": default("completed", one_or_more(&choice(ENDS, "How an execution ends."),
                    "How its executions end that count.")),
                "filter": example("${upstream.output.ok}", described("expression",
                    "A condition on `upstream`, with `id`, `workflow`, `status`, `input`, `output` \
                     and `error`.")),
                "input": object("The execution's input; strings in it may hold `${upstream.…}`."),
            },
        },
    }))
}

fn webhook() -> Value {
    let short = reference("shortText");
    let repository = json!({
        "description": "`owner/name`, or `owner/*` for all of an owner.",
        "type": "string",
        "pattern": "^[A-Za-z0-9._-]+/(\\*|[A-Za-z0-9._-]+)$",
        "maxLength": bound::SHORT_BYTES,
    });
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["event"],
        "properties": {
            "source": {
                "description": "Who sends it.",
                "type": "string",
                "pattern": "^[A-Za-z0-9_-]+$",
                "maxLength": bound::SOURCE_BYTES,
                "default": DEFAULT_SOURCE,
            },
            "event": example("issues", described("shortText", "The event.")),
            "action": example("labeled", one_or_more(&short,
                "The payload's `action`; any where it is absent.")),
            "repository": example("octo/*", one_or_more(&repository,
                "The repository; any where it is absent.")),
            "filter": example("${payload.label.name == 'afu9'}", described("expression",
                "A condition on `event`, `action`, `payload`, `repo` and `headers`.")),
            "input": example(json!({"issue_number": "${payload.issue.number}"}), object(
                "The execution's input; strings in it may hold `${…}` over the same names.")),
        },
    })
}

fn schedule() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["cron"],
        "properties": {
            "cron": {
                "description": "Minute, hour, day, month and weekday; six fields have seconds first.",
                "type": "string",
                "pattern": "^ *([0-9A-Za-z*,/?#-]+ +){4,5}[0-9A-Za-z*,/?#-]+ *$",
                "maxLength": bound::SHORT_BYTES,
                "examples": ["30 6 * * 1-5"],
            },
            "timezone": {
                "description": "The IANA time zone in which it is meant.",
                "type": "string",
                "pattern": "^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$",
                "maxLength": bound::SHORT_BYTES,
                "default": DEFAULT_TIMEZONE,
                "examples": ["Europe/Berlin"],
            },
            "missed": default("one", choice(MISSED,
                "What happens to instants at which nobody was there: nothing (`skip`), one execution \
                 for all of them (`one`), or one for each, up to a bound (`all`).")),
            "jitterMs": default(0, integer(bound::JITTER_MS,
                "Each start is delayed by up to this many milliseconds, always by the same for the \
                 same instant.")),
            "paused": default(false, flag("It starts nothing.")),
            "input": object("The execution's input; strings in it may hold `${schedule.at}`."),
        },
    })
}
