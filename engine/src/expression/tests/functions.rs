//! What the functions do at their edges. What they do otherwise is in their examples.

use serde_json::{Value, json};

use super::{Data, code, value};
use crate::expression::Expression;

fn all(cases: &[(&str, Value)]) {
    for (source, expected) in cases {
        assert_eq!(value(source).as_ref(), Ok(expected), "{source}");
    }
}

#[test]
fn strings_count_characters() {
    all(&[
        ("size('äß€😀')", json!(4)),
        ("'äß€😀'.indexOf('€')", json!(2)),
        ("'äß€😀'.lastIndexOf('x')", json!(-1)),
        ("'äß€😀'.indexOf('')", json!(0)),
        ("'äß€😀'.substring(1, 3)", json!("ß€")),
        ("'äß€😀'.substring(3)", json!("😀")),
        ("'äß€😀'.substring(9)", json!("")),
        ("'äß€😀'.truncate(2)", json!("äß")),
        ("'äß€😀'.truncate(4, '…')", json!("äß€😀")),
        ("'äß€😀'.truncate(3, '…')", json!("äß…")),
        ("'äß€😀'.truncate(0, '…')", json!("")),
        ("'äß€😀'.truncate(1, '...')", json!(".")),
        ("'ä'.padStart(3, 'xy')", json!("xyä")),
        ("'abc'.padEnd(2)", json!("abc")),
        ("'äb'.split('')", json!(["ä", "b"])),
        ("'äbc'.split('', 2)", json!(["ä", "bc"])),
        ("''.split('')", json!([])),
        ("''.split(',')", json!([""])),
        ("'a,b'.split(',', 0)", json!([])),
        ("('a' + ',b').split(',')", json!(["a", "b"])),
        ("'aaa'.replace('a', 'b', 2)", json!("bba")),
        ("'ab'.replace('', '-')", json!("-a-b-")),
        ("'İ'.lower().size() > 0", json!(true)),
        ("'straße'.upper()", json!("STRASSE")),
        ("join([])", json!("")),
        ("['a', 'b'].join()", json!("ab")),
        ("' \\t\\n a'.trim()", json!("a")),
    ]);
    for source in [
        "'a'.substring(2, 1)",
        "'a'.substring(-1)",
        "'a'.truncate(1.5)",
        "'a'.padEnd(5, '')",
    ] {
        // Told when it is compiled, since nothing in it depends on data.
        assert!(Expression::compile(source).is_err(), "{source}");
    }
    assert_eq!(
        code("issue.title.substring(-input.n)"),
        "expression.invalid"
    );
}

#[test]
fn slugs_are_fit_for_branch_names() {
    all(&[
        (
            "slug('Fix: Größe & Übergröße!')",
            json!("fix-groesse-uebergroesse"),
        ),
        ("slug('  --Crème brûlée--  ')", json!("creme-brulee")),
        ("slug(\"don't panic\")", json!("dont-panic")),
        ("slug('日本語')", json!("")),
        ("slug('../../etc/passwd')", json!("etc-passwd")),
        ("slug(issue.title)", json!("input-n-drop-1")),
        ("slug('a b c d', 3)", json!("a-b")),
        ("slug('a b c d', 4)", json!("a-b")),
        ("slug('a b', 0)", json!("")),
        ("slug('ääää', 3)", json!("aea")),
    ]);
    let long = Data(json!({"input": {"title": "word ".repeat(500)}}));
    let slug = Expression::compile("slug(input.title)").expect("valid");
    let slug = slug.evaluate(&long).expect("a slug");
    let slug = slug.as_str().expect("a string");
    assert!(slug.len() <= 50 && !slug.ends_with('-'), "{slug}");
}

#[test]
fn regular_expressions_are_those_of_re2() {
    all(&[
        ("'abc'.matches('b')", json!(true)),
        ("'abc'.matches('^b')", json!(false)),
        (
            r"'feat(api): x'.matches('^(feat|fix)(\\([a-z]+\\))?: ')",
            json!(true),
        ),
        (
            r"'a1_'.matches('^\\w+$') && !'ä'.matches('\\w')",
            json!(true),
        ),
        (
            r"'1 2'.matches('^\\d\\s\\d$') && 'a'.matches('^[\\D]$')",
            json!(true),
        ),
        (r"'\\w'.matches('^\\\\w$')", json!(true)),
        ("'Ä'.matches('(?i)^ä$')", json!(true)),
        ("'ä'.matches('^\\\\p{L}$')", json!(true)),
        ("extract('fix/42-login', '/([0-9]+)-(.*)$')", json!("42")),
        ("extract('fix/42-login', '[0-9]+')", json!("42")),
        ("extract('fix/login', '[0-9]+')", json!(null)),
        ("default(extract('fix/login', '[0-9]+'), '0')", json!("0")),
        ("issue.state.matches('^' + issue.state + '$')", json!(true)),
    ]);
    // Look-around and references could not be matched in linear time.
    for pattern in ["(?=a)", r"(a)\\1", "(?<!a)b", "(", "[z-a]", r"\\"] {
        let source = format!("issue.title.matches('{pattern}')");
        assert!(Expression::compile(&source).is_err(), "{source}");
    }
    assert_eq!(
        code("issue.state.matches(issue.title + '(')"),
        "expression.invalid"
    );
}

#[test]
fn lists_keep_what_is_equal_in_its_order() {
    all(&[
        ("[].sort()", json!([])),
        ("['b', 'a', 'B'].sort()", json!(["B", "a", "b"])),
        ("[2, 1.5, 1].sort()", json!([1, 1.5, 2])),
        (
            "input.items.sortBy(i, i.n).map(i, i.name)",
            json!(["second", "first"]),
        ),
        (
            "input.items.sortBy(i, 0).map(i, i.name)",
            json!(["first", "second"]),
        ),
        (
            "[3, 1, 3, 'a', null, 'a', [1], [1.0], {'a': 1}, {'a': 1}].distinct()",
            json!([3, 1, "a", null, [1], {"a": 1}]),
        ),
        ("[[1, [2]], [], 3].flatten()", json!([1, [2], 3])),
        ("[[1, [2, [3]]]].flatten(9)", json!([1, 2, 3])),
        ("[[1]].flatten(0)", json!([[1]])),
        ("[1, 2, 3].slice(1, 2)", json!([2])),
        ("[1, 2, 3].slice(2, 1)", json!([])),
        ("[1, 2, 3].slice(7)", json!([])),
        ("range(2, 5)", json!([2, 3, 4])),
        ("range(5, 2)", json!([])),
        ("range(0)", json!([])),
        ("[1, 2].zip(['a'])", json!([[1, "a"]])),
        ("sum([])", json!(0)),
        ("sum([duration('1m'), duration('30s')])", json!("90s")),
        ("min(3, 1.5, 2)", json!(1.5)),
        ("max('a', 'b')", json!("b")),
        (
            "max([timestamp(0), timestamp(1)])",
            json!("1970-01-01T00:00:01Z"),
        ),
        ("max(5)", json!(5)),
        (
            "merge({'a': 1}, {'b': 2}, {'a': 3})",
            json!({"a": 3, "b": 2}),
        ),
        (
            "merge(input.items[0], {'n': 9})",
            json!({"name": "first", "n": 9}),
        ),
        ("[1, 2, 3].map(x, x > 1, x * 10)", json!([20, 30])),
        ("{'b': 1, 'a': 2}.filter(k, k > 'a')", json!(["b"])),
        ("{'b': 1, 'a': 2}.all(k, k < 'c')", json!(true)),
        ("[1, 2] + [3]", json!([1, 2, 3])),
        ("keys({})", json!([])),
        ("size({'a': 1})", json!(1)),
    ]);
    assert_eq!(code("max(input.none)"), "expression.invalid");
    assert_eq!(code("sort([1, issue.title])"), "expression.invalid");
    assert_eq!(code("[{}, {}].sort()"), "expression.invalid");
}

#[test]
fn conversions_read_what_they_write() {
    all(&[
        ("int('-42')", json!(-42)),
        ("int(-1.9)", json!(-1)),
        ("int('18446744073709551615')", json!(u64::MAX)),
        ("int(timestamp('1970-01-01T00:01:00.9Z'))", json!(60)),
        ("double('1e3')", json!(1000.0)),
        ("double(2)", json!(2.0)),
        ("string(1.0)", json!("1.0")),
        ("string(true)", json!("true")),
        ("string(timestamp(0))", json!("1970-01-01T00:00:00Z")),
        ("string(b'\\xc3\\xa4')", json!("ä")),
        ("bool('f')", json!(false)),
        ("type(null)", json!("null")),
        ("type(1.5) == type(1)", json!(true)),
        ("type(timestamp(0))", json!("timestamp")),
        ("round(2.5)", json!(3)),
        ("round(-2.5)", json!(-3)),
        ("round(1.005, 2)", json!(1.0)),
        ("round(7, 2)", json!(7)),
        ("floor(-1.5) + ceil(-1.5)", json!(-3)),
        (
            "abs(-9223372036854775808)",
            json!(9_223_372_036_854_775_808_u64),
        ),
    ]);
    for source in [
        "int('4x')",
        "int('')",
        "uint(-1)",
        "bool('yes')",
        "double('nan')",
        "string(b'\\xff')",
    ] {
        assert!(Expression::compile(source).is_err(), "{source}");
    }
}

#[test]
fn encodings_are_exact() {
    all(&[
        (
            "json.encode(input.items[0])",
            json!(r#"{"n":2,"name":"first"}"#),
        ),
        (
            "json.encode({'z': '\\u0000\"', 'a': {'y': 1, 'b': 1.0}})",
            json!("{\"a\":{\"b\":1.0,\"y\":1},\"z\":\"\\u0000\\\"\"}"),
        ),
        (
            "json.decode('[1, 18446744073709551615, 1.5, null]')",
            json!([1, u64::MAX, 1.5, null]),
        ),
        ("json.decode(' \"a\" ')", json!("a")),
        ("base64.decode('aGVs\\nbG8=\\n')", json!("hello")),
        ("base64.encode(b'\\xff\\xfe')", json!("//4=")),
        (
            "sha256('abc')",
            json!("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ),
        ("sha256(b'abc') == sha256('abc')", json!(true)),
        ("sha256(base64.decodeBytes('/w==')).size()", json!(64)),
    ]);
    for source in [
        "json.decode('{')",
        "json.decode('')",
        "base64.decode('a')",
        "base64.decode('/w==')",
    ] {
        assert!(Expression::compile(source).is_err(), "{source}");
    }
}

#[test]
fn the_calendar_is_right() {
    all(&[
        (
            "timestamp('2024-02-29T23:59:59Z') + duration('1s')",
            json!("2024-03-01T00:00:00Z"),
        ),
        (
            "timestamp('1969-12-31T23:59:59.999Z')",
            json!("1969-12-31T23:59:59.999Z"),
        ),
        (
            "timestamp('0001-01-01T00:00:00Z')",
            json!("0001-01-01T00:00:00Z"),
        ),
        (
            "timestamp('9999-12-31T23:59:59.999999999Z')",
            json!("9999-12-31T23:59:59.999999999Z"),
        ),
        (
            "timestamp('2026-02-03 04:05:06-05:30')",
            json!("2026-02-03T09:35:06Z"),
        ),
        (
            "timestamp('2026-02-03T04:05:06Z') - timestamp('2026-02-02T04:05:06Z')",
            json!("86400s"),
        ),
        (
            "timestamp('2026-02-03T04:05:06Z') > timestamp('2026-02-03T05:05:06+02:00')",
            json!(true),
        ),
        (
            "timestamp('2026-01-01T00:30:00Z').getFullYear('-01:00')",
            json!(2025),
        ),
        (
            "timestamp('2026-01-01T00:30:00Z').getDayOfYear('-01:00')",
            json!(364),
        ),
        ("timestamp('2000-01-01T00:00:00Z').getDayOfWeek()", json!(6)),
        (
            "timestamp('2026-02-03T04:05:06Z').formatTime('%u %j %L%%')",
            json!("2 034 000%"),
        ),
        (
            "timestamp('2026-02-01T00:00:00Z').formatTime('%u')",
            json!("7"),
        ),
        ("millis(timestamp('1969-12-31T23:59:59.999Z'))", json!(-1)),
        ("fromMillis(-1)", json!("1969-12-31T23:59:59.999Z")),
        ("duration('1h1m1s1ms1us1ns')", json!("3661.001001001s")),
        ("duration('-1.5h')", json!("-5400s")),
        ("duration('0')", json!("0s")),
        ("duration('.5s')", json!("0.5s")),
        ("duration('1h') > duration('59m')", json!(true)),
        ("duration('1h') == duration('60m')", json!(true)),
        (
            "duration('1.5s').getMinutes() + duration('61s').getMinutes()",
            json!(1),
        ),
    ]);
    for source in [
        "timestamp('2026-02-29T00:00:00Z')",
        "timestamp('2026-13-01T00:00:00Z')",
        "timestamp('2026-01-01T24:00:00Z')",
        "timestamp('2026-01-01T00:00:00')",
        "timestamp('2026-01-01')",
        "timestamp('0000-01-01T00:00:00Z')",
        "timestamp('2026-01-01T00:00:00.Z')",
        "timestamp('2026-01-01T00:00:00+99:00')",
        "timestamp('2026-01-01Tää:00:00Z')",
        "timestamp(1e3)",
        "timestamp(99999999999999)",
        "duration('1')",
        "duration('')",
        "duration('1.5.5s')",
        "duration('h')",
        "duration('1d')",
        "duration('99999999999h')",
        "duration('9999999999999999999s')",
    ] {
        assert!(Expression::compile(source).is_err(), "{source}");
    }
    for source in [
        "timestamp('9999-12-31T23:59:59Z') + duration('1s') * input.n",
        "timestamp('9999-12-31T23:59:59Z') + duration(string(input.n) + 's')",
        "timestamp(0).getHours(issue.state)",
        "timestamp(0).formatTime('%Q' + issue.state)",
    ] {
        if let Ok(expression) = Expression::compile(source) {
            let error = expression.evaluate(&super::data()).expect_err(source);
            assert_eq!(error.code(), "expression.invalid", "{source}");
        }
    }
}

/// Every day of four centuries, there and back.
#[test]
fn the_calendar_is_its_own_inverse() {
    use crate::expression::time::{parse, rfc3339};
    let mut previous = String::new();
    for day in -73_000..73_100_i128 {
        let nanos = day * 86_400_000_000_000;
        let text = rfc3339(nanos);
        assert_eq!(parse(&text), Some(nanos), "{text}");
        assert!(text > previous, "{text} after {previous}");
        previous = text;
    }
}
