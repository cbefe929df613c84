//! `if`, and `condition`, its old name: one expression, `true` or `false`, or one comparison as the
//! predecessor had them (`${a.b} === 'x'`), which becomes an expression here.
//!
//! The predecessor put values in place of the placeholders and ran the text. Here only the text of the
//! definition is rewritten, before there are values. A placeholder with nothing at it made such a
//! condition false, and does so still.

use serde_json::Value;

use super::Reader;
use super::value::{Object, is_expression};

/// Longer ones first: the first that fits is taken.
const OPERATORS: [&str; 8] = ["===", "!==", "==", "!=", ">=", "<=", ">", "<"];

/// The same comparison as a regular expression, for the JSON Schema.
pub(in crate::definition) const COMPARISON: &str = concat!(
    r#"^\s*("\$\{[A-Za-z_][A-Za-z0-9_.]*\}"|'\$\{[A-Za-z_][A-Za-z0-9_.]*\}'|"#,
    r#"\$\{[A-Za-z_][A-Za-z0-9_.]*\}|"[^"\\$]*"|'[^'\\$]*'|-?[0-9]+(\.[0-9]+)?|true|false|null)"#,
    r"\s*(===|!==|==|!=|>=|<=|>|<)\s*",
    r#"("\$\{[A-Za-z_][A-Za-z0-9_.]*\}"|'\$\{[A-Za-z_][A-Za-z0-9_.]*\}'|"#,
    r#"\$\{[A-Za-z_][A-Za-z0-9_.]*\}|"[^"\\$]*"|'[^'\\$]*'|-?[0-9]+(\.[0-9]+)?|true|false|null)\s*$"#,
);

impl Reader<'_> {
    pub(super) fn condition(&mut self, step: &Object<'_>) -> Option<String> {
        if step.has("if") && step.has("condition") {
            self.mistake(
                &step.at("condition"),
                "`condition` is the old name of `if`; give only one",
            );
        }
        let key = if step.has("if") { "if" } else { "condition" };
        let found = match step.get(key)? {
            Value::Bool(value) => Some(format!("${{{value}}}")),
            Value::String(text) => match text.trim() {
                fixed @ ("true" | "false") => Some(format!("${{{fixed}}}")),
                text => comparison(text),
            }
            .or_else(|| is_expression(text).then(|| text.clone())),
            _ => None,
        };
        if found.is_none() {
            self.mistake(
                &step.at(key),
                format!(
                    "`{key}` must be exactly one expression, `${{…}}`, or `true` or `false`; a \
                     comparison stands inside the braces: `${{input.n > 3}}`"
                ),
            );
        }
        found
    }
}

/// The expression that a comparison of the predecessor means.
fn comparison(text: &str) -> Option<String> {
    let (left, rest) = operand(text)?;
    let rest = rest.trim_start();
    let operator = OPERATORS
        .iter()
        .find(|operator| rest.starts_with(**operator))?;
    let (right, rest) = operand(rest[operator.len()..].trim_start())?;
    if !rest.is_empty() {
        return None;
    }
    let there: String = [&left, &right]
        .into_iter()
        .filter(|operand| operand.is_path)
        .map(|operand| format!("has({}) && ", operand.text))
        .collect();
    let (left, right) = (left.value(), right.value());
    Some(format!("${{{there}{left} {operator} {right}}}"))
}

struct Operand<'t> {
    text: &'t str,
    is_path: bool,
    /// It stood in quotes: its value was compared as a text.
    is_quoted: bool,
}

impl Operand<'_> {
    fn value(&self) -> String {
        if self.is_path && self.is_quoted {
            format!("string({})", self.text)
        } else {
            self.text.to_owned()
        }
    }
}

/// The operand at the beginning of `text`, and what is behind it.
fn operand(text: &str) -> Option<(Operand<'_>, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''));
    let inside = &text[quote.map_or(0, char::len_utf8)..];
    if let Some(path) = inside.strip_prefix("${") {
        let (path, behind) = path.split_once('}')?;
        let behind = match quote {
            Some(quote) => behind.strip_prefix(quote)?,
            None => behind,
        };
        let mut bytes = path.bytes();
        let is_path = bytes
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'));
        let operand = Operand {
            text: path,
            is_path,
            is_quoted: quote.is_some(),
        };
        return is_path.then_some((operand, behind));
    }
    let end = match quote {
        Some(quote) => {
            let end = inside.find([quote, '\\', '$'])?;
            if !inside[end..].starts_with(quote) {
                return None;
            }
            end + 2
        }
        None => {
            let word = text
                .bytes()
                .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
            let end = word.count();
            let word = &text[..end];
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let unsigned = word.strip_prefix('-').unwrap_or(word);
            let is_number = match unsigned.split_once('.') {
                Some((whole, fraction)) => digits(whole) && digits(fraction),
                None => digits(unsigned),
            };
            if !is_number && !matches!(word, "true" | "false" | "null") {
                return None;
            }
            end
        }
    };
    let operand = Operand {
        text: &text[..end],
        is_path: false,
        is_quoted: false,
    };
    Some((operand, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_becomes_one_expression() {
        for (text, expected) in [
            ("${a} === ${b}", "${has(a) && has(b) && a === b}"),
            ("${a.b.0}!=='x y'", "${has(a.b.0) && a.b.0 !== 'x y'}"),
            ("'${a}' == \"open\"", "${has(a) && string(a) == \"open\"}"),
            ("${a} >= -1.5", "${has(a) && a >= -1.5}"),
            ("${a} < true", "${has(a) && a < true}"),
            ("null != ${a}", "${has(a) && null != a}"),
        ] {
            assert_eq!(comparison(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "${a}",
            "${a} ===",
            "${a} === b",
            "${a} === ${b} && ${c}",
            "${a + 1} === ${b}",
            "${a == '} == ${'}",
            "'${a} === 'x'",
            "${a} === 'it\\'s'",
            "${a} === '${b} c'",
            "${a} = ${b}",
            "${a} === 1.",
        ] {
            assert_eq!(comparison(text), None, "{text}");
        }
    }
}
