//! Definitions that use everything there is, in combinations nobody would think of.

use serde_json::{Map, Value, json};

use crate::choices::Choices;

/// The workflow that steps of others run.
pub(crate) const CHILD: &str = "
name: child
steps:
  - { name: c, tool: test.echo, params: { value: \"${input.n}\" }, retry: { maxAttempts: 2, initialDelayMs: 100 } }
output: { value: \"${steps.c.output.value}\" }
";

/// A definition that can be read, whatever is chosen.
pub(crate) fn definition(name: &str, choices: &mut Choices) -> String {
    let sequential = choices.once_in(3);
    let count = 1 + choices.pick(6);
    let mut steps: Vec<Value> = Vec::new();
    // Steps whose outputs say nothing of who or when.
    let mut plain: Vec<usize> = Vec::new();
    for index in 0..count {
        let mine: Vec<usize> = if sequential {
            index.checked_sub(1).into_iter().collect()
        } else {
            (0..index).filter(|_| choices.once_in(3)).collect()
        };
        let mut step = Map::new();
        step.insert("name".to_owned(), json!(format!("s{index}")));
        if !sequential {
            let names: Vec<String> = mine.iter().map(|need| format!("s{need}")).collect();
            step.insert("needs".to_owned(), json!(names));
        }
        let told: Vec<usize> = mine
            .iter()
            .copied()
            .filter(|need| plain.contains(need))
            .collect();
        action(&mut step, index, &mine, &told, choices);
        if !(step.contains_key("approval") || step.contains_key("sleep")) {
            plain.push(index);
        }
        steps.push(Value::Object(step));
    }
    let mut definition = json!({
        "name": name,
        "steps": steps,
        "config": { "timeoutMs": 30_000_000_000_u64, "cleanupTimeoutMs": 30_000_000_000_u64 },
    });
    if choices.once_in(3) {
        let handler = |index: usize| {
            json!({ "name": format!("h{index}"), "tool": "test.echo",
                    "params": { "value": "${failure.code}" } })
        };
        let handlers: Vec<Value> = (0..=choices.pick(2)).map(handler).collect();
        definition["onFailure"] = Value::Array(handlers);
    }
    if choices.once_in(3) {
        definition["concurrency"] = json!({ "limit": 1 + choices.pick(2), "onConflict": "queue" });
    }
    if choices.once_in(4) {
        let first = if plain.contains(&0) {
            "${steps.s0.output}"
        } else {
            ""
        };
        definition["output"] = json!({ "first": first, "was": "${steps.s0.status}" });
    }
    definition.to_string()
}

/// What a step does and how; `told` are the needs whose outputs it may use.
fn action(
    step: &mut Map<String, Value>,
    index: usize,
    needs: &[usize],
    told: &[usize],
    choices: &mut Choices,
) {
    let mut put = |key: &str, value: Value| {
        step.insert(key.to_owned(), value);
    };
    let what = choices.pick(10);
    match what {
        0..=5 => {
            put("tool", json!("test.echo"));
            let mut value = value(needs, told, choices);
            if what == 5 {
                put("forEach", json!("${input.items}"));
                put("maxParallel", json!(1 + choices.pick(3)));
                value = json!(["${item}", "${item_index}", value]);
            }
            put("params", json!({ "value": value }));
        }
        6 => put(
            "approval",
            json!({ "scope": "approve", "approvals": 1 + choices.pick(2) }),
        ),
        7 => {
            let filter = choices.once_in(2).then_some("${signal.ok}");
            let mut wait = json!({ "signal": format!("go{index}") });
            if let Some(filter) = filter {
                wait["filter"] = json!(filter);
            }
            put("waitFor", wait);
        }
        8 => put("sleep", json!({ "for": "1h" })),
        _ => put(
            "workflow",
            json!({ "name": "child", "input": { "n": value(needs, told, choices) }, "wait": !choices.once_in(4) }),
        ),
    }
    if what <= 5 || what == 9 {
        put(
            "retry",
            json!({ "maxAttempts": 1 + choices.pick(3), "initialDelayMs": 100 }),
        );
        if choices.once_in(3) {
            put(
                "compensate",
                json!({ "tool": "test.noop", "retry": { "maxAttempts": 2 } }),
            );
        }
    }
    if choices.once_in(3) {
        put("continueOnError", json!(true));
    }
    if choices.once_in(4) {
        let condition = match needs.last() {
            Some(need) if choices.once_in(2) => format!("${{steps.s{need}.status == 'completed'}}"),
            _ => "${input.n > 2}".to_owned(),
        };
        put("if", json!(condition));
    }
}

/// A value of what is known before the step.
fn value(needs: &[usize], told: &[usize], choices: &mut Choices) -> Value {
    match (choices.pick(4), needs, told) {
        (1, _, [.., need]) => json!(format!("${{steps.s{need}.output}}")),
        (2, [need, ..], _) => json!(format!("after ${{steps.s{need}.status}}")),
        (3, _, _) => json!("${input.n}"),
        _ => json!(7),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_choice_gives_a_definition_that_can_be_read(choices in Choices::strategy(100)) {
            let mut choices = choices;
            crate::inputs::compiled(&definition("any", &mut choices));
        }
    }
}
