//! What every step can have.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::definition::{DEFAULT_MAX_PARALLEL, ForEach, MAX_DURATION, MAX_STEPS, RESERVED_ROOTS};

#[test]
fn there_must_be_steps() {
    wrong("«name: w\n");
    wrong("name: w\nsteps: «{}\n");
    wrong("name: w\nsteps: «[]\n");
    wrong("name: w\nsteps: [«1, «a, «[]]\n");
    let many = |count: usize, key: &str| {
        let steps: Vec<String> = (0..count)
            .map(|n| format!("{{name: {key}{n}, tool: test.noop}}"))
            .collect();
        format!("[{}]", steps.join(", "))
    };
    right(&format!("name: w\nsteps: {}", many(MAX_STEPS, "a")));
    wrong(&format!("name: w\nsteps: «{}", many(MAX_STEPS + 1, "a")));
    wrong_to_the_reader(&format!(
        "name: w\nsteps: {}\nonFailure: «{}",
        many(MAX_STEPS - 1, "a"),
        many(2, "b")
    ));
}

#[test]
fn names_are_checked() {
    wrong("name: w\nsteps:\n  - «{tool: test.noop}\n");
    for name in [
        "«A", "«1a", "«''", "«a-b", "«7", "«[a]", "«ä", "«a.b", "«'a b'", "«~",
    ] {
        wrong(&format!(
            "name: w\nsteps: [{{tool: test.noop, name: {name}}}]"
        ));
        wrong(&format!(
            "steps: [{{tool: test.noop, name: a}}]\nname: {name}"
        ));
    }
    let longest = "a".repeat(255);
    right(&format!(
        "name: {longest}\nsteps: [{{tool: test.noop, name: {longest}}}]"
    ));
    wrong(&format!(
        "name: «{longest}a\nsteps: [{{tool: test.noop, name: b}}]"
    ));
}

#[test]
fn no_two_steps_have_the_same_name() {
    let mistakes = wrong_to_the_reader(concat!(
        "name: w\n",
        "steps:\n",
        "  - {name: a, tool: test.noop}\n",
        "  - {name: «a, tool: test.noop}\n",
        "onFailure:\n",
        "  - {name: «a, tool: test.noop}\n",
        "  - {name: b, tool: test.noop}\n",
    ));
    assert_eq!(mistakes[0].path, "/steps/1/name");
    assert_eq!(mistakes[1].path, "/onFailure/0/name");
}

#[test]
fn a_step_does_exactly_one_thing() {
    wrong("name: w\nsteps:\n  - «{name: a}\n");
    wrong_step("tool: test.noop, sleep: «1s");
    let mistakes = wrong_step("approval: {}, waitFor: «s, workflow: «v");
    assert_eq!(mistakes[0].path, "/steps/0/waitFor");
}

#[test]
fn conditions_are_texts_or_truth_values() {
    let condition = |keys: &str| right_step(&format!("tool: test.noop, {keys}")).condition;
    assert_eq!(condition("if: '${input.x}'").as_deref(), Some("${input.x}"));
    assert_eq!(condition("condition: '${x}'").as_deref(), Some("${x}"));
    assert_eq!(condition("if: true").as_deref(), Some("${true}"));
    assert_eq!(condition("if: false").as_deref(), Some("${false}"));
    wrong_step("tool: test.noop, if: «1");
    assert_eq!(condition("condition: true").as_deref(), Some("${true}"));
    assert_eq!(condition("condition: 'true'").as_deref(), Some("${true}"));
    assert_eq!(condition("if: ' false '").as_deref(), Some("${false}"));
    let compared = condition("condition: '${a.b} === ${c}'");
    assert_eq!(
        compared.as_deref(),
        Some("${has(a.b) && has(c) && a.b === c}")
    );
    for text in ["input.n > 3", "x${a}", "${a} and more", "${", "", "yes"] {
        wrong_step(&format!("tool: test.noop, if: «'{text}'"));
        wrong_step(&format!("tool: test.noop, condition: «'{text}'"));
    }
    wrong_step("tool: test.noop, if: '${x}', condition: «'${x}'");
    let sleeps = right_step("sleep: 1s, if: '${input.x}'");
    assert_eq!(sleeps.condition.as_deref(), Some("${input.x}"));
}

#[test]
fn no_output_may_hide_a_root_of_expressions() {
    for root in RESERVED_ROOTS {
        says(
            &wrong_step(&format!("tool: test.noop, assign: «'{root}'")),
            root,
        );
        wrong_step(&format!("tool: test.noop, forEach: [], as: «'{root}'"));
    }
    wrong_step("tool: test.noop, assign: «Issue");
    wrong_step("tool: test.noop, assign: «1");
    assert_eq!(
        right_step("waitFor: s, assign: answer").assign.as_deref(),
        Some("answer")
    );
}

#[test]
fn a_step_can_run_for_each_item() {
    assert_eq!(
        right_step("tool: test.noop, forEach: '${input.files}'").for_each,
        Some(ForEach {
            list: json!("${input.files}"),
            alias: "item".to_owned(),
            max_parallel: DEFAULT_MAX_PARALLEL,
        })
    );
    assert_eq!(
        right_step("workflow: v, forEach: [1, '${input.x}'], as: file, maxParallel: 10000")
            .for_each,
        Some(ForEach {
            list: json!([1, "${input.x}"]),
            alias: "file".to_owned(),
            max_parallel: 10_000,
        })
    );
    right_step("tool: test.noop, forEach: [], maxParallel: 1");
    for list in ["«{}", "«1", "«input.files", "«'${a} and more'", "«''", "«~"] {
        wrong_step(&format!("tool: test.noop, forEach: {list}"));
    }
    // Whether it is exactly one expression, and which, is for the engine.
    for list in [
        "'${ {\"a\": [1]}.a }'",
        "'${\"}\" + input.x}'",
        "'${\"\\\"}\"}'",
        "'${[r\"\\\"]}'",
        "'${[1] // {}'",
    ] {
        right_step(&format!("tool: test.noop, forEach: {list}"));
    }
    let folded = right(
        "name: w\nsteps:\n  - name: a\n    tool: test.noop\n    forEach: |\n      ${input.x}\n",
    );
    let list = folded.steps[0].for_each.as_ref().map(|each| &each.list);
    assert_eq!(list, Some(&json!("${input.x}")));
    for bad in ["«0", "«10001", "«1.5", "«'1'", "«-1", "«true"] {
        wrong_step(&format!("tool: test.noop, forEach: [], maxParallel: {bad}"));
    }
    wrong_step("tool: test.noop, forEach: [], as: «File");
    wrong_step("tool: test.noop, as: «file");
    wrong_step("tool: test.noop, maxParallel: «2");
}

#[test]
fn items_have_a_bound() {
    let list = |count: usize| format!("[{}]", vec!["1"; count].join(","));
    right_step(&format!("tool: test.noop, forEach: {}", list(100_000)));
    wrong_step(&format!("tool: test.noop, forEach: «{}", list(100_001)));
}

#[test]
fn the_name_of_an_item_is_not_also_that_of_an_output() {
    for (assigned, for_each) in [
        ("item", "«[1]"),
        ("item_index", "«[1]"),
        ("file", "[1], as: «file"),
        ("file_index", "[1], as: «file"),
    ] {
        for list in ["steps", "onFailure"] {
            let source = match list {
                "steps" => format!(
                    "name: w\nsteps:\n  - {{name: a, tool: test.noop, forEach: {for_each}}}\n  \
                     - {{name: b, tool: test.noop, assign: {assigned}}}\n"
                ),
                _ => format!(
                    "name: w\nsteps:\n  - {{name: a, tool: test.noop, forEach: {for_each}}}\n\
                     onFailure:\n  - {{name: b, tool: test.noop, assign: {assigned}}}\n"
                ),
            };
            says(&wrong_to_the_reader(&source), assigned);
        }
    }
    // Without items there is nothing to hide.
    right_step("tool: test.noop, assign: item");
    wrong_to_the_reader(&with_step("tool: test.noop, forEach: «[1], assign: item"));
}

#[test]
fn keys_without_meaning_for_an_action_are_mistakes() {
    for action in ["approval: {}", "waitFor: s", "sleep: 1s"] {
        wrong_step(&format!("{action}, params: «{{}}"));
        wrong_step(&format!("{action}, forEach: «[]"));
        wrong_step(&format!("{action}, retry: «{{}}"));
        wrong_step(&format!("{action}, compensate: «{{tool: test.noop}}"));
        right_step(&format!(
            "{action}, timeoutMs: 1000.0, continueOnError: true, needs: []"
        ));
    }
    says(&wrong_step("workflow: v, params: «{}"), "input");
    right_step("workflow: v, forEach: [], retry: {}, compensate: {tool: test.noop}");
}

#[test]
fn a_wait_is_not_tried_again() {
    for action in ["approval: {}", "waitFor: s", "sleep: 1s"] {
        assert_eq!(right_step(action).retry.max_attempts, 1, "{action}");
    }
    // What it runs has attempts of its own.
    assert_eq!(right_step("workflow: v").retry.max_attempts, 1);
    let asked = right_step("workflow: v, retry: { maxAttempts: 2 }");
    assert_eq!(asked.retry.max_attempts, 2);
}

#[test]
fn a_step_has_its_own_timeout() {
    assert_eq!(
        right_step("tool: test.noop, timeoutMs: 1000").timeout,
        Some(Duration::from_secs(1))
    );
    let longest = MAX_DURATION.as_millis();
    right_step(&format!("approval: {{}}, timeoutMs: {longest}"));
    wrong_step(&format!("approval: {{}}, timeoutMs: «{}", longest + 1));
    wrong_step("tool: test.noop, timeoutMs: «999");
    wrong_step("tool: test.noop, timeoutMs: «~");
}

#[test]
fn a_step_goes_on_after_errors_as_the_definition_does_unless_it_says() {
    let definition = right(concat!(
        "name: w\n",
        "steps:\n",
        "  - {name: a, tool: test.noop}\n",
        "  - {name: b, tool: test.noop, continueOnError: false}\n",
        "onFailure:\n",
        "  - {name: c, tool: test.noop}\n",
        "config: {continueOnError: true}\n",
    ));
    assert!(definition.steps[0].continue_on_error);
    assert!(!definition.steps[1].continue_on_error);
    assert!(definition.on_failure[0].continue_on_error);
    assert!(right_step("sleep: 1s, continueOnError: true").continue_on_error);
    wrong_step("tool: test.noop, continueOnError: «1");
}

#[test]
fn steps_on_failure_run_one_after_the_other() {
    let definition = right_top(
        "onFailure:\n  - {name: b, tool: test.echo, params: {value: '${failure.step}'}, assign: x}\n  \
         - {name: c, approval: {}, timeoutMs: 1000}\n  - {name: d, sleep: 1s}\n  \
         - {name: e, workflow: v, retry: {maxAttempts: 1}}",
    );
    assert_eq!(definition.on_failure.len(), 4);
    assert_eq!(definition.on_failure[0].assign.as_deref(), Some("x"));
    for key in [
        "needs: «[a]",
        "forEach: «[]",
        "compensate: «{tool: test.noop}",
        "forEach: «[1], as: «x, maxParallel: «1",
    ] {
        wrong_top(&format!("onFailure: [{{name: b, tool: test.noop, {key}}}]"));
    }
    wrong_top("onFailure: «{}");
    wrong_top("onFailure: [«1]");
    assert_eq!(right_top("onFailure: []").on_failure, []);
}

#[test]
fn descriptions_and_outputs_are_free() {
    assert_eq!(
        right_top("description: does it").description.as_deref(),
        Some("does it")
    );
    wrong_top("description: «[]");
    for (text, value) in [
        ("'${a}'", json!("${a}")),
        ("{x: ['${a}']}", json!({"x": ["${a}"]})),
        ("null", Value::Null),
        ("1", json!(1)),
    ] {
        assert_eq!(right_top(&format!("output: {text}")).output, Some(value));
    }
}

#[test]
fn what_an_expiry_means_needs_a_time() {
    wrong_step("approval: {onExpiry: «approve}");
    wrong_step("waitFor: {signal: s, onTimeout: «continue}");
    right_step("approval: {onExpiry: approve}, timeoutMs: 1000");
    right_step("waitFor: {signal: s, onTimeout: fail}, timeoutMs: 1000");
    wrong_top("onFailure: [{name: b, approval: {onExpiry: «reject}}]");
}
