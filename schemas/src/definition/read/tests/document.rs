//! Texts that are no definitions.

use super::*;
use crate::definition::MAX_DEFINITION_BYTES;

#[test]
fn broken_text_is_one_mistake_with_a_place() {
    for source in ["{\"name\": ", "a: [1, 2", "a: b: c", "\t- x", "? [a]\n: b"] {
        let mistakes = read(source, ReadOptions::default()).expect_err("broken");
        assert!(!mistakes.is_empty(), "{source}");
    }
    wrong("name: w\nsteps: []\n«--- \nname: v\n");
}

#[test]
fn a_definition_is_an_object() {
    for source in ["«[]", "«1", "«text", "«null", "«~"] {
        wrong(source);
    }
}

#[test]
fn a_key_that_is_given_twice_is_a_mistake() {
    wrong_to_the_reader("name: w\n«name: v\nsteps: [{name: a, «name: b, tool: test.noop}]\n");
}

#[test]
fn tags_of_the_core_schema_say_what_a_value_is() {
    for (text, value) in [
        ("!!str 42", serde_json::json!("42")),
        ("! 42", serde_json::json!("42")),
        ("!!int '42'", serde_json::json!(42)),
        ("!!float 1", serde_json::json!(1)),
        ("!!bool 'true'", serde_json::json!(true)),
        ("!!null ''", serde_json::json!(null)),
        ("!!seq [!!str 1]", serde_json::json!(["1"])),
        ("!!map {!!str 1: 2}", serde_json::json!({"1": 2})),
    ] {
        assert_eq!(right_top(&format!("output: {text}")).output, Some(value));
    }
    for text in [
        "!!int many",
        "!!binary aGk=",
        "!!timestamp 2030-01-01",
        "!secret x",
        "!!set {a, b}",
        "!!str [1]",
        "!env {a: 1}",
        "{!!int 1: 2}",
    ] {
        let source = with_top(&format!("output: {text}"));
        assert!(read(&source, ReadOptions::default()).is_err(), "{text}");
    }
}

#[test]
fn keys_that_are_not_known_are_mistakes_wherever_they_are() {
    for (source, near) in [
        (with_top("step: «1"), "steps"),
        (with_top("config: {timeoutMS: «1000}"), "timeoutMs"),
        (with_top("concurrency: {limt: «1}"), "limit"),
        (
            with_top("rateLimit: {limit: 1, periodMs: 1000, keys: «k}"),
            "key",
        ),
        (
            with_top("debounce: {periodMs: 100, maxWait: «100}"),
            "maxWaitMs",
        ),
        (
            with_top("on: [{webhok: «1, webhook: {event: e}}]"),
            "webhook",
        ),
        (
            with_top("on: [{webhook: {event: e, actions: «a}}]"),
            "action",
        ),
        (
            with_top("on: [{schedule: {cron: '* * * * *', timeZone: «UTC}}]"),
            "timezone",
        ),
        (
            with_top("on: [{workflow: {name: v, statu: «failed}}]"),
            "status",
        ),
        (
            with_top("onFailure: [{name: b, tool: test.noop, asign: «c}]"),
            "assign",
        ),
        (with_step("tool: test.noop, need: «[]"), "needs"),
        (
            with_step("tool: test.noop, retry: {maxAttempt: «1}"),
            "maxAttempts",
        ),
        (
            with_step("tool: test.noop, compensate: {tool: test.noop, parms: «{}}"),
            "params",
        ),
        (with_step("approval: {approver: «[a]}"), "approvers"),
        (
            with_step("waitFor: {signal: s, filer: «'${true}'}"),
            "filter",
        ),
        (with_step("sleep: {for: 1s, untill: «1}"), "until"),
        (with_step("workflow: {name: v, inputs: «{}}"), "input"),
    ] {
        says(&wrong(&source), &format!("`{near}`"));
    }
    let mistakes = wrong_top("'a/b~c': «1");
    assert_eq!(mistakes[0].path, "/a~1b~0c");
}

#[test]
fn a_text_that_is_too_large_is_refused_at_once() {
    let source = "#".repeat(MAX_DEFINITION_BYTES + 1);
    let mistakes = read(&source, ReadOptions::default()).expect_err("too large");
    assert_eq!(mistakes.len(), 1);
}

#[test]
fn aliases_cannot_make_a_small_text_large() {
    let values = concat!(
        "a: &a [1,1,1,1,1,1,1,1,1,1]\n",
        "b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n",
        "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n",
        "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n",
        "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n",
        "f: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
    );
    let bytes = format!("a: &a {}\nb: [{}]", "x".repeat(100_000), "*a,".repeat(6));
    let paths = format!("{}: [{}]", "x".repeat(900), "1,".repeat(100_000));
    for (source, word) in [
        (values.to_owned(), "values"),
        (bytes, "bytes"),
        (paths, "keys"),
    ] {
        let mistakes = read(&source, ReadOptions::default()).expect_err("too much");
        says(&mistakes, word);
    }
}

#[test]
fn aliases_can_be_used() {
    let definition = right(concat!(
        "name: w\n",
        "steps:\n",
        "  - name: a\n",
        "    tool: test.noop\n",
        "    retry: &patient { maxAttempts: 9 }\n",
        "  - { name: b, tool: test.noop, retry: *patient }\n"
    ));
    assert_eq!(definition.steps[1].retry.max_attempts, 9);
}

#[test]
fn nesting_has_a_bound() {
    let source = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let mistakes = read(&source, ReadOptions::default()).expect_err("too deep");
    says(&mistakes, "deeper");
}
