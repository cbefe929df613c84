//! What holds for any text whatever.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Data, data};
use crate::expression::{Expression, Template, compile_condition};

/// Compiles and, if it is one, evaluates: only that nothing panics.
fn survive(text: &str) {
    if let Ok(expression) = Expression::compile(text) {
        let evaluated = expression.evaluate(&data());
        // And what is wrong can be told.
        let _ = evaluated.map_err(|error| (error.to_string(), error.place().clone()));
        let _ = (expression.roots().len(), expression.paths().len());
    }
    let value = json!({"a": [text], "b": format!("${{{text}}} ${{{text}")});
    let template = Template::compile(&value, "", &mut |_, mistake| {
        assert!(
            mistake.offset <= 2 * text.chars().count() + 8,
            "{mistake:?}"
        );
    });
    let _ = template.render(&data());
    let _ = compile_condition(&format!("${{{text}}}")).map(|c| c.holds(&data()));
}

/// Pieces of expressions, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "input",
        "issue",
        ".n",
        ".list",
        ".title",
        "[0]",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        "'a'",
        "'",
        "\"",
        "\"b\"",
        "'''",
        "r'",
        "b'",
        "\\",
        "1",
        "0x1",
        "1.5",
        ".5",
        "1e9",
        "u",
        "+",
        "-",
        "*",
        "/",
        "%",
        "==",
        "===",
        "!=",
        "<",
        ">",
        "<=",
        "&&",
        "||",
        "!",
        "?",
        ":",
        ",",
        ".",
        " ",
        "in",
        "true",
        "null",
        ".map(x, ",
        ".filter(x, x)",
        ".sortBy(x, x)",
        "size(",
        "has(",
        "default(",
        "lower(",
        "range(",
        "timestamp(",
        "duration('1h')",
        "json.decode(",
        "base64.encode(",
        "sha256(",
        ".matches(",
        "'(a+)+$'",
        "x",
        "$",
        "${",
        "//",
        "\n",
        "ä",
        "😀",
        "9999999999999",
        ".substring(",
        ".split(",
        ".replace(",
        ".join(",
        ".truncate(",
        ".slug()",
        ".sort()",
        ".flatten()",
        ".zip(",
        ".keys()",
        "sum(",
        "max(",
        "string(",
        "int(",
        "formatTime(",
    ]);
    prop::collection::vec(piece, 0..25).prop_map(|pieces| pieces.concat())
}

/// Any JSON whose texts are any text.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        // Others lose their last digit when JSON is read, here as everywhere.
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 16.0)),
        any::<String>().prop_map(Value::from),
        pieces().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn rendered(text: &str, data: &Data) -> Value {
    let template = Template::compile(&json!(text), "", &mut |_, m| panic!("{text}: {m:?}"));
    let rendered = template.render(data);
    rendered.unwrap_or_else(|(_, error)| panic!("{text}: {error}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(text in any::<String>()) {
        survive(&text);
    }

    #[test]
    fn no_order_of_pieces_panics(text in pieces()) {
        survive(&text);
    }

    /// Arguments of every kind in every function.
    #[test]
    fn no_argument_panics(
        function in 0..crate::expression::FUNCTIONS.len(),
        values in prop::collection::vec(any_value(), 1..4),
    ) {
        let name = crate::expression::FUNCTIONS[function].name;
        let data = Data(json!({"v": values}));
        for source in [
            format!("{name}(v[0])"),
            format!("{name}(v[0], default(v[1], 3))"),
            format!("{name}(v[0], default(v[1], 'x'), default(v[2], 2))"),
            format!("v[0].{name}(x, v[0])"),
            format!("string(v[0]).{name}(string(default(v[1], 'a')))"),
            format!("v.{name}(2)"),
        ] {
            if let Ok(expression) = Expression::compile(&source) {
                let first = expression.evaluate(&data);
                prop_assert_eq!(first, expression.evaluate(&data), "{} twice", source);
            }
        }
    }

    /// What comes from outside comes out as it was.
    #[test]
    fn data_is_rendered_unchanged(value in any_value()) {
        let data = Data(json!({"d": {"v": value}}));
        prop_assert_eq!(&rendered("${d.v}", &data), &value);
        prop_assert_eq!(&rendered("${[d.v][0]}", &data), &value);
        prop_assert_eq!(&rendered("${[1].map(x, d.v)[0]}", &data), &value);
        prop_assert_eq!(&rendered("${json.decode(json.encode(d.v))}", &data), &value);
        prop_assert_eq!(&rendered("${merge(d, {}).v}", &data), &value);
        prop_assert_eq!(&rendered("${d.v == d.v}", &data), &json!(true));
        prop_assert_eq!(&rendered("${d.v in [d.v]}", &data), &json!(true));
        prop_assert_eq!(&rendered("${size([d.v, d.v].distinct())}", &data), &json!(1));
    }

    #[test]
    fn texts_are_rendered_unchanged(text in prop_oneof![any::<String>(), pieces()]) {
        let data = Data(json!({"d": {"v": text}}));
        prop_assert_eq!(rendered("${d.v}", &data), json!(text));
        prop_assert_eq!(rendered("a${d.v}b${d.v}", &data), json!(format!("a{text}b{text}")));
        prop_assert_eq!(rendered("${d.v + ''}", &data), json!(text));
        prop_assert_eq!(rendered("${d.v.split('').join('')}", &data), json!(text));
        prop_assert_eq!(rendered("${d.v.split('a').join('a')}", &data), json!(text));
        prop_assert_eq!(rendered("${base64.decode(base64.encode(d.v))}", &data), json!(text));
        prop_assert_eq!(rendered("${string(bytes(d.v))}", &data), json!(text));
        prop_assert_eq!(rendered("${d.v.truncate(size(d.v))}", &data), json!(text));
        let holds = compile_condition("${d.v == d.v && !(d.v != d.v)}").expect("valid");
        prop_assert_eq!(holds.holds(&data), Ok(true));
        let slug = rendered("${slug(d.v)}", &data);
        let slug = slug.as_str().expect("a string");
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        prop_assert!(slug.len() <= 50 && slug.chars().all(fits), "{}", slug);
    }

    /// A text written as a literal is that text.
    #[test]
    fn literals_are_what_was_written(text in any::<String>()) {
        let mut literal = String::from("'");
        for c in text.chars() {
            match c {
                '\'' | '\\' => literal.extend(['\\', c]),
                _ => literal.push(c),
            }
        }
        literal.push('\'');
        let expression = Expression::compile(&literal).expect("a literal");
        prop_assert_eq!(expression.evaluate(&data()), Ok(json!(text)));
        prop_assert_eq!(rendered(&format!("${{{literal}}}"), &data()), json!(text));
    }

    #[test]
    fn instants_are_read_as_they_are_written(millis in -62_135_596_800_000_i64..=253_402_300_799_999) {
        let data = Data(json!({"t": millis}));
        let source = "${fromMillis(t) == timestamp(string(fromMillis(t))) && millis(fromMillis(t)) == t}";
        prop_assert_eq!(rendered(source, &data), json!(true));
    }
}
