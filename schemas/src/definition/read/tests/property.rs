//! What holds for every text: the reader never panics, what it accepts the JSON Schema accepts, and
//! what it refuses has a place.

use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;
use crate::definition::vocabulary::keys;

/// Accepted or refused, it must not panic; what is accepted must be accepted by the schema.
fn read_anything(source: &str) -> Result<(), TestCaseError> {
    match read(source, ReadOptions::default()) {
        Ok(read) => {
            let mistakes = schema_mistakes(&read.value);
            prop_assert!(mistakes.is_empty(), "{mistakes:#?}\n{source}");
        }
        Err(mistakes) => {
            prop_assert!(!mistakes.is_empty());
            prop_assert!(mistakes.is_sorted_by_key(|mistake| mistake.position));
        }
    }
    Ok(())
}

/// Everything the language has.
const WHOLE: &str = include_str!("whole.yaml");

#[test]
fn the_whole_language_is_read() {
    let definition = right(WHOLE);
    assert_eq!(definition.triggers.len(), 3);
    assert_eq!(definition.steps.len(), 8);
    assert_eq!(definition.on_failure.len(), 2);
}

/// What YAML is made of, and what it stumbles over.
fn scrap() -> impl Strategy<Value = String> {
    let marks = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ": ",
        ",",
        "- ",
        "-",
        "\n",
        "\n  ",
        "\n    ",
        "\t",
        " ",
        "#",
        "&a ",
        "*a",
        "!t ",
        "|",
        "|2\n",
        ">-\n",
        "'",
        "\"",
        "\\",
        "\\x",
        "%",
        "%YAML 1.2\n",
        "---",
        "...",
        "? ",
        "<<",
        "~",
        "null",
        "1",
        "0x",
        "1e400",
        ".nan",
        "${",
        "}",
        "\u{feff}",
        "\u{0}",
        "\u{85}",
        "\r",
        "\r\n",
        "é",
        "\u{2028}",
        "name",
        "steps",
        "tool",
    ]);
    let pieces = prop_oneof![4 => marks.prop_map(str::to_owned), 1 => ".{0,3}"];
    prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat())
}

/// Values of which definitions could be made, in the right and in wrong places.
fn value() -> impl Strategy<Value = Value> {
    let text = prop::sample::select(vec![
        "a",
        "b",
        "item",
        "issue",
        "${input.x}",
        "${",
        "test.noop",
        "test.sleep",
        "test.fail",
        "github.addComment",
        "1d",
        "1s5ms",
        "2030-01-31T08:00:00Z",
        "30 6 * * 1-5",
        "UTC",
        "Europe/Berlin",
        "octo/*",
        "octo/a",
        "failed",
        "timeout",
        "cancelled",
        "queue",
        "global",
        "one",
        "fixed",
        "approve",
        "continue",
        "object",
        "string",
        "#",
        "",
    ]);
    let leaf = prop_oneof![
        text.prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        prop::sample::select(vec![0_i64, 1, 2, 10, 100, 1000, 5000, -1, i64::MAX])
            .prop_map(Value::from),
        Just(json!(1.5)),
        Just(Value::Null),
    ];
    let all_keys: Vec<&str> = [
        keys::DEFINITION,
        keys::CONFIG,
        keys::CONCURRENCY,
        keys::RATE_LIMIT,
        keys::DEBOUNCE,
        keys::TRIGGER,
        keys::WEBHOOK,
        keys::SCHEDULE,
        keys::AFTER,
        keys::STEP,
        keys::RETRY,
        keys::COMPENSATE,
        keys::APPROVAL,
        keys::WAIT_FOR,
        keys::SLEEP,
        keys::WORKFLOW,
        &[
            "$ref",
            "$defs",
            "type",
            "properties",
            "pattern",
            "ms",
            "value",
            "body",
        ],
    ]
    .concat();
    leaf.prop_recursive(4, 24, 6, move |inner| {
        let key = prop::sample::select(all_keys.clone());
        let field = (key, inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::Array),
            prop::collection::vec(field, 0..5).prop_map(|fields| {
                Value::Object(fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
            }),
        ]
    })
}

/// Values that stand where they belong, of the right sort more often than not.
fn fields(known: &'static [&'static str]) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::vec((prop::sample::select(known), value()), 0..4)
        .prop_map(|fields| fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
}

/// Where the whole language has a value, in order.
fn places(value: &Value, path: &str, found: &mut Vec<String>) {
    found.push(path.to_owned());
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, &format!("{path}/{index}"), found);
            }
        }
        Value::Object(fields) => {
            for (key, field) in fields {
                places(field, &format!("{path}/{key}"), found);
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_text(source in any::<String>()) {
        read_anything(&source)?;
    }

    #[test]
    fn any_scrap_of_yaml(source in scrap()) {
        read_anything(&source)?;
    }

    /// A definition somebody is in the middle of writing.
    #[test]
    fn any_cut_of_a_definition(
        from in 0..WHOLE.len(),
        length in 0_usize..40,
        scrap in scrap(),
    ) {
        let mut characters: Vec<char> = WHOLE.chars().collect();
        let from = from.min(characters.len());
        let to = (from + length).min(characters.len());
        characters.splice(from..to, scrap.chars());
        read_anything(&characters.into_iter().collect::<String>())?;
    }

    #[test]
    fn any_value(value in value()) {
        read_anything(&value.to_string())?;
    }

    #[test]
    fn any_keys_of_a_step(step in fields(keys::STEP), top in fields(keys::DEFINITION)) {
        let mut step = step;
        step.insert("name".to_owned(), json!("a"));
        let mut top = top;
        top.insert("name".to_owned(), json!("w"));
        top.insert("steps".to_owned(), json!([step]));
        read_anything(&Value::Object(top).to_string())?;
    }

    /// One value of a right definition becomes another one: often still right.
    #[test]
    fn any_other_value(index in any::<prop::sample::Index>(), value in value()) {
        let mut whole = read(WHOLE, ReadOptions::default()).expect("right").value;
        let mut found = Vec::new();
        places(&whole, "", &mut found);
        let place = whole.pointer_mut(index.get(&found).as_str()).expect("a place of it");
        *place = value;
        read_anything(&whole.to_string())?;
    }

    /// Without one of its parts.
    #[test]
    fn anything_missing(index in any::<prop::sample::Index>()) {
        let mut whole = read(WHOLE, ReadOptions::default()).expect("right").value;
        let mut found = Vec::new();
        places(&whole, "", &mut found);
        found.remove(0);
        let (parent, key) = index.get(&found).rsplit_once('/').expect("a pointer");
        match whole.pointer_mut(parent) {
            Some(Value::Object(fields)) => drop(fields.shift_remove(key)),
            Some(Value::Array(items)) => drop(items.remove(key.parse().expect("an index"))),
            _ => unreachable!("only lists and objects have parts"),
        }
        read_anything(&whole.to_string())?;
    }
}
