//! Numbers, null, absence, keys, times: what a user who knows JSON expects.

use serde_json::json;

use super::{code, data, is_type_error, render, value};
use crate::expression::{EvalError, Expression};

#[test]
fn json_has_one_kind_of_numbers() {
    for (source, expected) in [
        ("input.whole == 1", json!(true)),
        ("1 == input.whole", json!(true)),
        ("input.n == 7.0", json!(true)),
        ("input.n < 7.5 && input.n > 6.5", json!(true)),
        ("input.whole in [1, 2]", json!(true)),
        ("[1, 2.0] == [1.0, 2]", json!(true)),
        ("{'a': 1} == {'a': 1.0}", json!(true)),
        ("input.list[input.whole]", json!(2)),
        ("input.n + input.f", json!(8.5)),
        ("input.n * 0.5", json!(3.5)),
        ("7 / 2", json!(3)),
        ("7 / 2.0", json!(3.5)),
        ("7.5 % 2", json!(1.5)),
        ("-7 / 2", json!(-3)),
        ("-7 % 2", json!(-1)),
        ("input.big == 18446744073709551615", json!(true)),
        ("input.big - 1", json!(u64::MAX - 1)),
        ("input.small + 1", json!(i64::MIN + 1)),
        ("-9223372036854775808", json!(i64::MIN)),
        (
            "9223372036854775807 + 1",
            json!(9_223_372_036_854_775_808_u64),
        ),
        ("5u + 1", json!(6)),
        ("0xff", json!(255)),
        ("1e3", json!(1000.0)),
        ("'7' == string(input.n)", json!(true)),
        ("input.n == '7'", json!(false)),
    ] {
        assert_eq!(value(source), Ok(expected), "{source}");
    }
    // Exact, also where a float cannot hold the integer.
    assert_eq!(
        value("9007199254740993 == 9007199254740992.0"),
        Ok(json!(false))
    );
    assert_eq!(
        value("9007199254740993 > 9007199254740992.0"),
        Ok(json!(true))
    );
    assert_eq!(value("input.big < 18446744073709551616.0"), Ok(json!(true)));
    assert_eq!(value("-1 > -1.5 && -2 < -1.5"), Ok(json!(true)));
}

#[test]
fn numbers_that_json_does_not_have_are_errors() {
    for source in [
        "input.big + 1",
        "input.small - 1",
        "-input.big",
        "input.big * input.big",
        "input.n / input.zero",
        "input.n % input.zero",
        "input.f / 0.0",
        "1e308 * input.n * 10.0",
        "int(1e300 + input.f)",
        "double('inf' + input.empty)",
    ] {
        assert_eq!(code(source), "expression.invalid", "{source}");
        assert!(!is_type_error(source), "{source}");
    }
}

#[test]
fn kinds_that_do_not_fit_are_errors_of_type() {
    for source in [
        "input.n + issue.title",
        "issue.title + input.n",
        "input.n < issue.title",
        "-issue.title",
        "!input.n",
        "input.n && true",
        "input.n ? 1 : 2",
        "input.n.map(x, x)",
        "input.list.filter(x, x)",
        "lower(input.n)",
        "input.n in input.n",
        "join(input.list)",
        "sum(['a', input.n])",
        "sort([1, issue.title])",
        "input.list[issue.title]",
        "{input.f: 1}",
        "min(input.list, 1)",
        "[timestamp(0)][0] < issue.title",
    ] {
        assert!(is_type_error(source), "{source}: {:?}", value(source));
        assert_eq!(code(source), "expression.invalid", "{source}");
    }
}

#[test]
fn absence_can_be_asked_for_and_made_up_for() {
    for (source, expected) in [
        ("has(issue.title)", json!(true)),
        ("has(issue.nothing)", json!(true)),
        ("has(issue.absent)", json!(false)),
        ("has(issue.absent.further)", json!(false)),
        ("has(issue.nothing.further)", json!(false)),
        ("has(absent)", json!(false)),
        ("has(absent.a)", json!(false)),
        ("has(input.list[5])", json!(false)),
        ("has(input.items[0].name)", json!(true)),
        ("has(issue['title'])", json!(true)),
        ("default(issue.absent, 1)", json!(1)),
        ("default(issue.nothing, 1)", json!(1)),
        ("default(issue.nothing.further, 1)", json!(1)),
        ("default(absent, issue.absent, issue.number)", json!(42)),
        ("default(input.zero, 1)", json!(0)),
        ("default(input.empty, 'x')", json!("")),
        ("default(input.list[9], 'x')", json!("x")),
        ("issue.absent.default('x')", json!("x")),
        ("default(issue.absent, null)", json!(null)),
        ("default(issue.absent + 1, 2)", json!(2)),
    ] {
        assert_eq!(value(source), Ok(expected), "{source}");
    }
    assert_eq!(
        code("default(issue.absent, issue.also)"),
        "expression.unresolved"
    );
    // Only absence is made up for: a mistake stays a mistake.
    assert_eq!(code("default(1 / input.zero, 2)"), "expression.invalid");
    assert_eq!(
        code("has(input.list[1 / input.zero])"),
        "expression.invalid"
    );
}

#[test]
fn an_operand_that_decides_makes_up_for_one_that_failed() {
    for (source, expected) in [
        ("issue.absent == 1 || true", json!(true)),
        ("true || issue.absent == 1", json!(true)),
        ("issue.absent == 1 && false", json!(false)),
        (
            "input.items.exists(x, x.absent == 1 || x.n == 1)",
            json!(true),
        ),
        ("[{}, {'a': 1}].exists(x, x.a == 1)", json!(true)),
        ("[{}, {'a': 1}].all(x, x.a == 2)", json!(false)),
    ] {
        assert_eq!(value(source), Ok(expected), "{source}");
    }
    for source in [
        "issue.absent == 1 || false",
        "issue.absent == 1 && true",
        "[{}, {'a': 1}].exists(x, x.a == 2)",
        "[{}, {'a': 1}].all(x, x.a == 1)",
        "[{}].filter(x, x.a == 1)",
    ] {
        assert_eq!(code(source), "expression.unresolved", "{source}");
    }
}

#[test]
fn keys_are_strings_and_objects_have_one_order() {
    for (source, expected) in [
        (
            "{'z': 1, 'a': 2, 'm': {'y': 1, 'b': 2}}",
            r#"{"a":2,"m":{"b":2,"y":1},"z":1}"#,
        ),
        ("{1: 'a', true: 'b'}", r#"{"1":"a","true":"b"}"#),
        ("{1: 'a'}[1]", r#""a""#),
        ("1 in {1: 'a'}", "true"),
        ("'n' in input", "true"),
        ("{'b': 1, 'a': 2}.map(k, k)", r#"["a","b"]"#),
        ("input.items[0].map(k, k)", r#"["n","name"]"#),
        ("{'a': 1} == {'a': 1}", "true"),
        ("{'a': 1} == {'b': 1}", "false"),
    ] {
        assert_eq!(
            value(source).expect(source).to_string(),
            expected,
            "{source}"
        );
    }
    assert_eq!(code("{'a': 1, input.empty + 'a': 2}"), "expression.invalid");
}

#[test]
fn what_json_does_not_have_has_a_json_form() {
    for (source, expected) in [
        (
            "timestamp('2026-02-03T04:05:06.5+01:00')",
            json!("2026-02-03T03:05:06.500Z"),
        ),
        ("duration('1h30m1.5s')", json!("5401.5s")),
        ("-duration('90s')", json!("-90s")),
        ("b'\\x00\\xff'", json!("AP8=")),
        (
            "{'at': [timestamp(0)]}",
            json!({"at": ["1970-01-01T00:00:00Z"]}),
        ),
    ] {
        assert_eq!(value(source), Ok(expected), "{source}");
    }
    assert_eq!(
        render(&json!("at ${timestamp(0)} for ${duration('1m')}")),
        Ok(json!("at 1970-01-01T00:00:00Z for 60s"))
    );
}

#[test]
fn a_dollar_and_a_brace_can_be_written() {
    assert_eq!(render(&json!("${'${'}x}")), Ok(json!("${x}")));
    assert_eq!(render(&json!("${\"}\"}")), Ok(json!("}")));
    assert_eq!(
        render(&json!("${ {'a': {'b': '}'}} }")),
        Ok(json!({"a": {"b": "}"}}))
    );
    assert_eq!(render(&json!("$ { } $5 {x}")), Ok(json!("$ { } $5 {x}")));
    assert_eq!(render(&json!("${input.n // why: }\n}")), Ok(json!(7)));
    assert_eq!(render(&json!("${r'\\' + '''it's'''}")), Ok(json!("\\it's")));
}

#[test]
fn what_an_expression_reads_is_known() {
    let expression = Expression::compile(
        "issue.labels.map(x, x + input.items[0].name + steps['a'].output[issue.n].b).size()",
    )
    .expect("valid");
    assert_eq!(expression.roots(), ["input", "issue", "steps"]);
    let read: Vec<(usize, String)> = expression
        .paths()
        .into_iter()
        .map(|(at, path)| (at, format!("{}{:?}", path.root(), path.segments())))
        .collect();
    assert_eq!(
        read,
        [
            (0, "issue[Field(\"labels\")]".to_owned()),
            (
                24,
                "input[Field(\"items\"), Index(0), Field(\"name\")]".to_owned()
            ),
            (46, "steps[Field(\"a\"), Field(\"output\")]".to_owned()),
            (64, "issue[Field(\"n\")]".to_owned()),
        ]
    );
    let path = Expression::compile(" issue.labels[0] ").expect("valid");
    assert!(path.as_path().is_some());
    assert_eq!(path.paths().len(), 1);
    assert_eq!(path.source(), "issue.labels[0]");
}

#[test]
fn a_loop_variable_hides_a_root_only_in_its_loop() {
    assert_eq!(
        value("[1].map(issue, issue + 1) == [2] && issue.number == 42"),
        Ok(json!(true))
    );
    assert_eq!(
        value("[[1, 2], [3]].map(x, x.map(x, x * 2))"),
        Ok(json!([[2, 4], [6]]))
    );
    // A namespace is no value, and a value of its name is not in its way.
    assert_eq!(value("json.encode(1)"), Ok(json!("1")));
    assert_eq!(
        value("[{'encode': 1}].map(json, json.encode)"),
        Ok(json!([1]))
    );
}

/// Fields are asked for one by one where they can be.
#[test]
fn a_scope_is_asked_for_no_more_than_is_read() {
    use std::borrow::Cow;
    use std::cell::RefCell;

    use serde_json::Value;

    use crate::expression::Scope;

    #[derive(Default)]
    struct Asked(RefCell<Vec<String>>);

    impl Scope for Asked {
        fn root(&self, name: &str) -> Option<Cow<'_, Value>> {
            self.0.borrow_mut().push(name.to_owned());
            Some(Cow::Owned(json!({"a": {"b": 1}})))
        }

        fn field(&self, root: &str, field: &str) -> Option<Cow<'_, Value>> {
            self.0.borrow_mut().push(format!("{root}.{field}"));
            Some(Cow::Owned(json!({"b": 1})))
        }
    }

    for (source, asked) in [
        ("steps.a.b", vec!["steps.a"]),
        ("steps.a.b + steps.a.b", vec!["steps.a"]),
        ("true || steps.a.b == 1", vec![]),
        ("steps['a'].b", vec!["steps.a"]),
        ("steps['a'].b + 1", vec!["steps.a"]),
        ("steps.map(k, steps[k].b)", vec!["steps"]),
        ("size(steps)", vec!["steps"]),
    ] {
        let scope = Asked::default();
        let expression = Expression::compile(source).expect(source);
        expression.evaluate(&scope).expect(source);
        assert_eq!(scope.0.into_inner(), asked, "{source}");
    }
    let error: EvalError = Expression::compile("size(input.absent.x)")
        .expect("valid")
        .evaluate(&data())
        .expect_err("absent");
    assert!(error.to_string().contains("`absent` in `input`"), "{error}");
}
