//! Text and JSON as Postgres takes them.
//!
//! Neither `text` nor `jsonb` can hold the character U+0000, and issue texts and logs do contain it.
//! Refusing such a message would lose its other rows too, so the character is replaced by U+FFFD,
//! which is visible and means just that.

use serde::Serialize;
use serde_json::{Map, Value};

/// `text` without U+0000.
pub(crate) fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// The longest name kept, in characters. Names are indexed, and Postgres refuses a row whose index
/// entry exceeds 2704 bytes; two names of 255 characters of 4 bytes fit together.
const NAME_MAX_CHARS: usize = 255;

/// `text` as a name: without U+0000, and cut where an index could not hold it.
pub(crate) fn name(text: &str) -> String {
    clean(text).chars().take(NAME_MAX_CHARS).collect()
}

/// `value` as JSON text without U+0000 in any string or key.
pub(crate) fn json<T: Serialize>(value: &T) -> String {
    const WHY: &str = "wire types have only string keys";

    let text = serde_json::to_string(value).expect(WHY);
    // Cheap and almost always decisive; `\\u0000` (an escaped backslash) only costs the second look.
    if !text.contains("\\u0000") {
        return text;
    }
    cleaned(serde_json::to_value(value).expect(WHY)).to_string()
}

fn cleaned(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(clean(&text)),
        Value::Array(items) => Value::Array(items.into_iter().map(cleaned).collect()),
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(key, value)| (clean(&key), cleaned(value)))
                .collect::<Map<_, _>>(),
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json as value;

    use super::*;

    #[test]
    fn nul_is_replaced_wherever_it_is() {
        let dirty = value!({ "a\0": ["x\0y", { "deep": "\0" }], "plain": "é" });
        assert_eq!(
            json(&dirty),
            value!({ "a\u{fffd}": ["x\u{fffd}y", { "deep": "\u{fffd}" }], "plain": "é" })
                .to_string(),
        );
        assert_eq!(clean("a\0b"), "a\u{fffd}b");
    }

    #[test]
    fn names_are_cut_where_an_index_could_not_hold_them() {
        assert_eq!(name("a\0b"), "a\u{fffd}b");
        assert_eq!(name(&"é".repeat(300)), "é".repeat(255));
    }

    #[test]
    fn the_text_of_an_escape_is_not_an_escape() {
        let innocent = value!({ "regex": "\\u0000" });
        assert_eq!(json(&innocent), innocent.to_string());
    }
}
