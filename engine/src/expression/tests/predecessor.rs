//! Each of the predecessor's failures with expressions, by what was wrong.

use serde_json::{Value, json};

use super::{Data, data, render, template, value};
use crate::expression::{Condition, EvalError, compile_condition};

fn holds(condition: &str) -> Result<bool, EvalError> {
    let condition = compile_condition(condition).unwrap_or_else(|m| panic!("{condition}: {m:?}"));
    condition.holds(&data())
}

/// What people write into titles to see what happens.
const HOSTILE: [&str; 12] = [
    "${input.n}",
    "${execution.id}${repo.owner}",
    "\"; process.exit(); \"",
    "'; process.exit(); '",
    "' || true || '",
    "' + secrets + '",
    "true) || (1 == 1",
    "json.decode('{}')",
    "}${",
    "\\u0027 || true || \\u0027",
    "\n\t\0 \u{202e}abc\u{1f600}",
    "[1,2].map(x, x)",
];

fn titled(title: &str) -> Data {
    let mut data = data();
    data.0["issue"]["title"] = json!(title);
    data
}

/// `${issue.number}` did not resolve for what `assign: issue` had stored.
#[test]
fn what_a_step_assigned_is_found_under_its_name() {
    assert_eq!(render(&json!("${issue.number}")), Ok(json!(42)));
    assert_eq!(
        render(&json!({"branch": "fix/${issue.number}"})),
        Ok(json!({"branch": "fix/42"}))
    );
    assert_eq!(value("issue.number + 1"), Ok(json!(43)));
}

/// It could only be found where the context kept it.
#[test]
fn what_a_step_assigned_is_also_found_under_variables() {
    for (old, new) in [
        ("variables.issue.number", "issue.number"),
        ("variables['issue'].number + 1", "issue.number + 1"),
        ("has(variables.issue.labels.0)", "has(issue.labels[0])"),
        ("size(variables.input.list)", "size(variables.input.list)"),
    ] {
        let roots = |source: &str| -> Vec<String> {
            let expression = crate::expression::Expression::compile(source).expect("valid");
            expression.roots().into_iter().map(str::to_owned).collect()
        };
        assert_eq!(roots(old), roots(new), "{old}");
        if old == new {
            // Nothing was ever assigned to the name of a root.
            assert_eq!(roots(old), ["variables"]);
        } else {
            assert_eq!(value(old), value(new), "{old}");
        }
    }
    assert_eq!(
        value("[{'a': 1}].map(variables, variables.a)"),
        Ok(json!([1])),
        "a loop's own name"
    );
}

/// Unresolved placeholders stayed in the parameters as they were written.
#[test]
fn what_is_not_there_fails_and_is_never_left_as_text() {
    for text in ["${isue.number}", "fix/${issue.nmber}", "${input.list[9]}"] {
        let (_, error) = render(&json!({ "a": text })).expect_err(text);
        assert_eq!(error.code(), "expression.unresolved", "{text}");
    }
}

/// Substitution made a string of everything, `[object Object]` of objects.
#[test]
fn types_are_kept() {
    for (text, expected) in [
        ("${input.n}", json!(7)),
        ("${input.f}", json!(1.5)),
        ("${input.flag}", json!(true)),
        ("${issue.nothing}", json!(null)),
        ("${input.none}", json!([])),
        ("${input.list}", json!([1, 2, 3])),
        ("${input.big}", json!(u64::MAX)),
        ("${input.small}", json!(i64::MIN)),
        ("${input.items[0]}", json!({"name": "first", "n": 2})),
        ("${input.n * 2}", json!(14)),
        ("${[input.f, null, []]}", json!([1.5, null, []])),
    ] {
        assert_eq!(render(&json!(text)), Ok(expected), "{text}");
    }
    // In a longer text values become JSON, and that is deliberate.
    assert_eq!(
        render(&json!("${input.items[1]} ${input.n}")),
        Ok(json!(r#"{"name":"second","n":1} 7"#))
    );
}

/// Conditions were pasted together with untrusted text and run as JavaScript.
#[test]
fn titles_are_never_evaluated_in_conditions() {
    for title in HOSTILE {
        let data = titled(title);
        for (condition, expected) in [
            ("${issue.title == 'x'}", false),
            ("${issue.title === 'x'}", false),
            ("${issue.title == 'x' && true}", false),
            ("${issue.title.startsWith('bug')}", false),
            ("${[issue.title].exists(t, t == 'x')}", false),
            ("${issue.title}", true),
            ("${size(issue.title) > 0}", true),
        ] {
            let condition = compile_condition(condition).expect("valid");
            assert_eq!(condition.holds(&data), Ok(expected), "{title:?}");
        }
    }
}

#[test]
fn titles_are_never_evaluated_in_parameters() {
    for title in HOSTILE {
        let data = titled(title);
        let rendered = |text: &str| -> Value {
            let rendered = template(&json!(text)).render(&data);
            rendered.unwrap_or_else(|(_, error)| panic!("{text}: {error}"))
        };
        assert_eq!(rendered("${issue.title}"), json!(title));
        assert_eq!(
            rendered("Fix: ${issue.title}!"),
            json!(format!("Fix: {title}!"))
        );
        assert_eq!(
            rendered("${issue.title} ${issue.title}"),
            json!(format!("{title} {title}"))
        );
        assert_eq!(rendered("${'' + issue.title}"), json!(title));
        assert_eq!(rendered("${default(issue.title, '')}"), json!(title));
        assert_eq!(rendered("${[issue.title][0]}"), json!(title));
        assert_eq!(
            rendered("${json.decode(json.encode(issue.title))}"),
            json!(title)
        );
        assert_eq!(
            rendered("${json.decode(json.encode({'t': issue.title})).t}"),
            json!(title)
        );
        assert_eq!(
            rendered("${base64.decode(base64.encode(issue.title))}"),
            json!(title)
        );
        assert_eq!(
            rendered("${{issue.title: 1}.map(k, k)}"),
            json!([title]),
            "a key is data, too"
        );
        assert_eq!(
            rendered("${'{}'.replace('{}', issue.title)}"),
            json!(title),
            "no template of a template"
        );
    }
}

/// What came out of a decoded text is data as well, whatever it looks like.
#[test]
fn decoded_json_is_data() {
    let data = Data(json!({"input": {"text": r#"{"a": "${input.text}", "b": "1 + 1"}"#}}));
    let rendered = template(&json!("${json.decode(input.text)}")).render(&data);
    assert_eq!(rendered, Ok(json!({"a": "${input.text}", "b": "1 + 1"})));
}

#[test]
fn conditions_keep_their_meaning() {
    for (condition, expected) in [
        ("${issue.number}", true),
        ("${issue.labels}", true),
        ("${issue.absent}", false),
        ("${issue.absent.further}", false),
        ("${absent}", false),
        ("${input.zero}", false),
        ("${input.empty}", false),
        ("${issue.nothing}", false),
        ("${input.none}", true),
        ("${issue.state === 'open'}", true),
        ("${issue.state !== 'open'}", false),
        ("${issue.state == '==='}", false),
        ("${issue.labels.0 === 'bug'}", true),
        ("${issue.labels[0] == 'bug'}", true),
        ("${input.items.1.name == 'second'}", true),
        ("${issue.number > 41 && 'bug' in issue.labels}", true),
        ("${!has(issue.absent)}", true),
        ("${true}", true),
        ("${false}", false),
        ("  ${ issue.number == 42 }  ", true),
    ] {
        assert_eq!(holds(condition), Ok(expected), "{condition}");
    }
}

/// A leftover `${` counted as false, other text as true.
#[test]
fn a_condition_is_one_expression_that_is_true_or_false() {
    for text in [
        "issue",
        "${a} ${b}",
        "x${a}",
        "",
        "${",
        "true",
        "${a} && ${b}",
    ] {
        assert!(compile_condition(text).is_err(), "{text}");
    }
    let always_a_number = compile_condition("${input.n + 1}").expect_err("never a boolean");
    assert!(
        always_a_number.message.contains("number"),
        "{always_a_number:?}"
    );
    let error = holds("${input.flag ? input.n : false}").expect_err("a number");
    assert!(matches!(error, EvalError::Type { .. }), "{error}");
    assert_eq!(error.code(), "expression.invalid");
    let error = holds("${issue.absent == 1}").expect_err("only a bare path may lead nowhere");
    assert_eq!(error.code(), "expression.unresolved");
}

/// Filters of routes are compiled without braces.
#[test]
fn a_condition_can_be_made_of_any_expression() {
    let expression = crate::expression::Expression::compile("issue.state == 'open'");
    let condition = Condition {
        expression: expression.expect("valid"),
    };
    assert_eq!(condition.holds(&data()), Ok(true));
}
