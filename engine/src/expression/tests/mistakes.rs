//! What is wrong without any data is told when a definition is compiled, with its place.

use serde_json::{Value, json};

use super::mistake;
use crate::expression::{
    Expression, MAX_EXPRESSION_BYTES, MAX_NESTING, Mistake, Template, compile_condition,
};

fn mistakes(value: &Value) -> Vec<(String, Mistake)> {
    let mut found = Vec::new();
    Template::compile(value, "", &mut |path, m| found.push((path.to_owned(), m)));
    found
}

#[test]
fn each_mistake_has_its_character() {
    for (source, offset) in [
        ("1 +", 3),
        ("issue.", 6),
        ("(1", 2),
        ("[1, 2", 5),
        ("{'a' 1}", 5),
        ("1 2", 2),
        ("a.b.(c)", 4),
        ("'äöü' + ", 7),
        ("'äöü' + 'a", 8),
        ("'\\q'", 1),
        ("a = b", 2),
        ("a & b", 2),
        ("a; b", 1),
        ("99999999999999999999", 0),
        ("1e999", 0),
        ("0xzz", 0),
        ("12ab", 2),
        ("a.?b", 2),
        ("Message{a: 1}", 7),
        ("a ? b", 5),
        ("  1 + 'a'", 6),
        ("1 + 2 + 'a'", 8),
        ("input.n + lower('a', 'b')", 10),
        ("input.n + lowr('a')", 10),
        ("issue.title.lowr()", 0),
        ("size(1)", 5),
        ("[1].map(x, y, z, w)", 0),
        ("[1].map(1, 2)", 0),
        ("map([1], x, x)", 0),
        ("has(1)", 4),
        ("has(a, b)", 0),
        ("default(a)", 0),
        ("1 ? 2 : 3", 0),
        ("!1", 1),
        ("true && 'a'", 8),
        ("'a' || true", 0),
        ("1.map(x, x)", 0),
        ("{null: 1}", 1),
        ("[1][null]", 4),
        ("'a'.b", 0),
        ("size('a') == '1'", 13),
        ("'a' in 'abc'", 7),
        ("issue.at + duration('1h')", 11),
        ("timestamp('2026-02-30T00:00:00Z')", 0),
        ("1 / 0", 0),
        ("'a'.matches('(')", 12),
        ("issue.title.matches('(')", 20),
        ("issue.title.matches('a{1000}{1000}')", 20),
        ("duration('1x')", 0),
        ("json.decode('{')", 0),
        ("'a'.formatTime('%Y')", 0),
    ] {
        let mistake = mistake(source);
        assert_eq!(mistake.offset, offset, "{source}: {mistake:?}");
        assert!(!mistake.message.contains('\n'), "{mistake:?}");
    }
}

#[test]
fn an_unknown_function_comes_with_the_one_that_was_meant() {
    for (source, meant) in [
        ("lowr('a')", "`lower`"),
        ("Lower('a')", "`lower`"),
        ("'a'.toLowerCase()", "`lower`"),
        ("'a'.length()", "`size`"),
        ("len('a')", "`size`"),
        ("[1].includes(1)", "`contains`"),
        ("[1].some(x, x)", "`exists`"),
        ("[1].fitler(x, x)", "`filter`"),
        ("json.encod(1)", "`json.encode`"),
        ("toJson(1)", "`json.encode`"),
        ("base64.encode64('a')", "`base64.encode`"),
        ("now()", "`execution.startedAt`"),
        ("getHour(timestamp(0))", "`getHours`"),
        ("coalesce(a, b)", "`default`"),
    ] {
        let message = mistake(source).message;
        assert!(message.contains(meant), "{source}: {message}");
    }
    let message = mistake("frobnicate(1)").message;
    assert!(!message.contains("did you mean"), "{message}");
}

#[test]
fn there_is_no_clock_and_no_chance() {
    for source in [
        "now()",
        "today()",
        "random()",
        "uuid()",
        "timestamp()",
        "env('A')",
    ] {
        mistake(source);
    }
}

#[test]
fn places_in_templates_are_json_pointers() {
    let found = mistakes(&json!({
        "a": ["ok", "äb ${1 +}"],
        "b/c": {"~": "x ${lowr('a')}"},
        "d": "ab${",
        "e": "ab ${'}",
        "f": "${}",
        "g": "${input.n} ${issue..x}",
    }));
    let places: Vec<(&str, usize)> = found
        .iter()
        .map(|(at, m)| (at.as_str(), m.offset))
        .collect();
    assert_eq!(
        places,
        [
            ("/a/1", 8),
            ("/b~1c/~0", 4),
            ("/d", 2),
            ("/e", 5),
            ("/f", 2),
            ("/g", 19),
        ],
        "{found:?}"
    );
    let template = Template::compile(&json!({"a/b": ["${x}"]}), "/p", &mut |_, m| panic!("{m:?}"));
    let mut seen = Vec::new();
    template.expressions("/p", &mut |at, e| {
        seen.push((at.to_owned(), e.source().to_owned()))
    });
    assert_eq!(seen, [("/p/a~1b/0".to_owned(), "x".to_owned())]);
}

#[test]
fn conditions_have_places_too() {
    for (text, offset) in [
        ("${1 +}", 5),
        ("  ${1 +}", 7),
        (" ${size('a')}", 1),
        ("a", 0),
    ] {
        let mistake = compile_condition(text).expect_err(text);
        assert_eq!(mistake.offset, offset, "{text}: {mistake:?}");
    }
}

#[test]
fn what_is_too_long_or_too_deep_is_no_expression() {
    let long = "1+".repeat(MAX_EXPRESSION_BYTES / 2);
    mistake(&format!("{long}1"));
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{'a':", "}"),
        ("size(", ")"),
        ("!", ""),
        ("a[", "]"),
    ] {
        let nested = |levels: usize| format!("{}x{}", open.repeat(levels), close.repeat(levels));
        let message = mistake(&nested(MAX_NESTING + 1)).message;
        assert!(message.contains("nested deeper"), "{message}");
        let message = mistake(&nested(MAX_EXPRESSION_BYTES / 10)).message;
        assert!(message.contains("nested deeper"), "{message}");
    }
    let chained = |calls: usize| format!("x{}", ".lower()".repeat(calls));
    let message = mistake(&chained(MAX_NESTING + 1)).message;
    assert!(message.contains("calls"), "{message}");
    let conditional = |levels: usize| format!("{}1", "a ? b : ".repeat(levels));
    let message = mistake(&conditional(MAX_NESTING + 1)).message;
    assert!(message.contains("nested deeper"), "{message}");
    let mut deep = json!("${a}");
    for _ in 0..80 {
        deep = json!([deep]);
    }
    assert_eq!(mistakes(&deep).len(), 1);
}

#[test]
fn an_argument_that_is_always_wrong_is_told_whatever_the_others_are() {
    for (source, at) in [
        ("timestamp(input.at).getHours('Europe/Berlin')", "'Europe"),
        ("getDate(timestamp(input.at), 'CET')", "'CET"),
        ("timestamp(input.at).getMilliseconds('+2')", "'+2"),
        ("formatTime(timestamp(input.at), '%Q')", "'%Q"),
        ("formatTime(timestamp(input.at), '%Y', 'local')", "'local"),
        ("input.text.substring(-1)", "-1"),
        ("truncate(input.text, 1.5)", "1.5"),
        ("split(input.text, ',', -2)", "-2"),
        ("input.list.slice(0, -1)", "-1"),
        ("round(input.n, -1)", "-1"),
        ("range(input.n, -3)", "-3"),
        ("matches(input.text, '[')", "'['"),
    ] {
        let expected = source.find(at).expect("it is there");
        assert_eq!(mistake(source).offset, expected, "{source}");
    }
    for source in [
        "timestamp(input.at).getHours('+02:00')",
        "formatTime(timestamp(input.at), '%Y', 'UTC')",
        "substring(input.text, 1, 2)",
        "round(input.n, 2)",
        "replace(input.text, '-1', '%Q')",
    ] {
        assert!(Expression::compile(source).is_ok(), "{source}");
    }
}
