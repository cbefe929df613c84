//! What somebody reads at night.

use serde_json::json;

use super::{Data, data, render, template, value};
use crate::expression::{Expression, Place};

fn message(source: &str) -> String {
    match value(source) {
        Ok(value) => panic!("{source} is {value}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_is_not_there_is_named_with_what_was_meant() {
    for (source, expected) in [
        (
            "issue.nmber",
            "`${issue.nmber}` cannot be resolved: there is no `nmber` in `issue`; did you mean \
             `number`?",
        ),
        (
            "isue.number",
            "`${isue.number}` cannot be resolved: there is no `isue`",
        ),
        (
            "input.list[3]",
            "`${input.list[3]}` cannot be resolved: there is no element 3 in `input.list`, which \
             has 3",
        ),
        (
            "issue.nothing.title",
            "`${issue.nothing.title}` cannot be resolved: there is no `title` in \
             `issue.nothing`, which is null",
        ),
        (
            "input.n + issue.nmber",
            "`${input.n + issue.nmber}` cannot be resolved: there is no `nmber` in `issue`; did \
             you mean `number`? (at character 11, in `issue.nmber`)",
        ),
        (
            "input.items.map(i, i.nam)",
            "`${input.items.map(i, i.nam)}` cannot be resolved: there is no `nam` in `i`; did \
             you mean `name`? (at character 20, in `i.nam`)",
        ),
        (
            "input.items[1].nme + 'x'",
            "`${input.items[1].nme + 'x'}` cannot be resolved: there is no `nme` in \
             `input.items[1]`; did you mean `name`? (at character 1, in `input.items[1].nme`)",
        ),
    ] {
        assert_eq!(message(source), expected);
    }
}

#[test]
fn what_does_not_fit_is_told_with_the_part_and_the_values() {
    for (source, expected) in [
        (
            "issue.state == 'open' && input.n + issue.state == 'x'",
            "`${issue.state == 'open' && input.n + issue.state == 'x'}` cannot be evaluated: `+` \
             does not fit the number 7 and the string \"open\"; `string(value)` makes a string \
             of a value (at character 26, in `input.n + issue.state`)",
        ),
        (
            "upper(input.list)",
            "`${upper(input.list)}` cannot be evaluated: `upper` takes a string, not a list of 3",
        ),
        (
            "issue.title.truncate(issue.state)",
            "`${issue.title.truncate(issue.state)}` cannot be evaluated: `truncate`, as argument \
             2, takes a number, not the string \"open\"",
        ),
        (
            "issue.labels.map(l, int(l))",
            "`${issue.labels.map(l, int(l))}` cannot be evaluated: \"bug\" is not an integer (at \
             character 21, in `int(l)`)",
        ),
        (
            "timestamp(issue.state) + duration('1h')",
            "`${timestamp(issue.state) + duration('1h')}` cannot be evaluated: \"open\" is not a \
             timestamp of RFC 3339, as `2026-02-03T04:05:06Z` is (at character 1, in \
             `timestamp(issue.state)`)",
        ),
    ] {
        assert_eq!(message(source), expected);
    }
}

#[test]
fn the_place_counts_characters_of_the_whole_string() {
    let (at, error) = render(&json!({
        "files": [{"path": "ä/${input.n}/${ input.n + issue.nmber }.txt"}]
    }))
    .expect_err("no such field");
    assert_eq!(at, ".files[0].path");
    assert_eq!(
        error.place(),
        &Place {
            opens: 13,
            fails: 26,
            part: "issue.nmber".to_owned(),
        }
    );
    assert!(
        error
            .to_string()
            .ends_with("(at character 27, in `issue.nmber`)"),
        "{error}"
    );
    let (_, error) = render(&json!("${input.n} ${issue.nmber}")).expect_err("no such field");
    assert_eq!((error.place().opens, error.place().fails), (11, 13));
    assert!(error.to_string().ends_with("(at character 14)"), "{error}");
    // Without braces around it, as filters of routes are.
    let error = Expression::compile("  issue.nmber + 1")
        .expect("valid")
        .evaluate(&data())
        .expect_err("no such field");
    assert_eq!((error.place().opens, error.place().fails), (0, 2));
}

#[test]
fn messages_are_short_and_on_one_line() {
    let data = Data(json!({"input": {"text": "line\n".repeat(10_000), "n": 1}}));
    let long = format!("input.n{}", " + 1".repeat(500));
    for source in [
        "int(input.text)",
        "input.text + input.n",
        "input[input.text]",
        "input.text < input.n",
        "{input.text: 1, input.text: 2}",
        "timestamp(input.text)",
        "json.decode(input.text)",
        "input\n  .n\n  .lower()",
        &format!("{long} + input.text"),
    ] {
        let error = template(&json!(format!("${{{source}}}")))
            .render(&data)
            .expect_err(source)
            .1
            .to_string();
        assert!(error.len() < 1500, "{} bytes: {error}", error.len());
        assert!(!error.contains('\n'), "{error}");
    }
}
