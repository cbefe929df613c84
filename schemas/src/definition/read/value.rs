//! What every part of a definition is made of: objects with known keys, texts, numbers, choices.
//!
//! Each function reports what is wrong and gives what can be used all the same, so that one pass
//! finds every mistake; whoever reported anything never becomes a definition.

use std::collections::HashSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value};

use super::Reader;
use crate::definition::bound;
use crate::definition::diagnostic::Diagnostic;
use crate::definition::vocabulary::words;
use crate::tool;

/// Mistakes after which no more hints are given.
const MAX_HINTS: usize = 100;

/// An object of the definition, and where it stands.
pub(super) struct Object<'v> {
    fields: &'v Map<String, Value>,
    /// Its JSON pointer.
    pub(super) path: String,
}

impl<'v> Object<'v> {
    pub(super) fn new(fields: &'v Map<String, Value>, path: &str) -> Self {
        Self {
            fields,
            path: path.to_owned(),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'v Value> {
        self.fields.get(key)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.fields.contains_key(key)
    }

    /// The JSON pointer of a field.
    pub(super) fn at(&self, key: &str) -> String {
        format!(
            "{}/{}",
            self.path,
            key.replace('~', "~0").replace('/', "~1")
        )
    }
}

/// A text that stands alone or in a list, and where.
pub(super) struct Item<'v> {
    pub(super) text: &'v str,
    pub(super) path: String,
}

impl Reader<'_> {
    pub(super) fn mistake(&mut self, path: &str, message: impl Into<String>) {
        self.mistakes.push(Diagnostic {
            position: self.positions.of(path),
            path: path.to_owned(),
            message: message.into(),
        });
    }

    /// `value` as an object with no other keys than `known`; `shape` says what it should be.
    pub(super) fn object<'v>(
        &mut self,
        value: &'v Value,
        path: &str,
        shape: &str,
        known: &[&str],
    ) -> Option<Object<'v>> {
        let Some(fields) = value.as_object() else {
            self.mistake(path, shape);
            return None;
        };
        let object = Object::new(fields, path);
        for key in fields.keys().filter(|key| !known.contains(&key.as_str())) {
            let hint = self.did_you_mean(key, known);
            self.mistake(&object.at(key), format!("`{key}` is not known here{hint}"));
        }
        Some(object)
    }

    /// The object at `key`, if there is one.
    pub(super) fn section<'v>(
        &mut self,
        object: &Object<'v>,
        key: &str,
        known: &[&str],
    ) -> Option<Object<'v>> {
        let shape = format!("`{key}` must be an object with {}", listed(known, "and"));
        self.object(object.get(key)?, &object.at(key), &shape, known)
    }

    /// Reports a key that has to be there.
    pub(super) fn missing(&mut self, object: &Object<'_>, key: &str) {
        let path = object.path.clone();
        self.mistake(&path, format!("`{key}` is missing"));
    }

    /// The end of a mistake that may be a slip. Comparing words takes time, so that a text with very
    /// many mistakes gets hints only for the first.
    pub(super) fn did_you_mean(&self, word: &str, known: &[&str]) -> String {
        if word.len() > bound::NAME_BYTES || self.mistakes.len() > MAX_HINTS {
            return String::new();
        }
        tool::closest(word, known.iter().copied())
            .map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
    }

    pub(super) fn text(&mut self, object: &Object<'_>, key: &str) -> Option<String> {
        match object.get(key)? {
            Value::String(text) => Some(text.clone()),
            _ => {
                self.mistake(&object.at(key), format!("`{key}` must be a text"));
                None
            }
        }
    }

    /// A text with something in it that fits on a line.
    pub(super) fn short_text(&mut self, object: &Object<'_>, key: &str) -> Option<String> {
        let text = self.text(object, key)?;
        self.is_short(&text, &object.at(key), key).then_some(text)
    }

    pub(super) fn is_short(&mut self, text: &str, path: &str, key: &str) -> bool {
        let short = !text.trim().is_empty()
            && text.len() <= bound::SHORT_BYTES
            && !text.chars().any(char::is_control);
        if !short {
            self.mistake(
                path,
                format!(
                    "`{key}` must be a text of one line with 1 to {} bytes",
                    bound::SHORT_BYTES
                ),
            );
        }
        short
    }

    /// A text that is one expression. What stands in the braces is for the engine to compile.
    pub(super) fn expression(&mut self, object: &Object<'_>, key: &str) -> Option<String> {
        let text = self.text(object, key)?;
        if is_expression(&text) {
            return Some(text);
        }
        self.mistake(
            &object.at(key),
            format!("`{key}` must be exactly one expression, `${{…}}`"),
        );
        None
    }

    pub(super) fn flag(&mut self, object: &Object<'_>, key: &str) -> Option<bool> {
        let flag = object.get(key)?.as_bool();
        if flag.is_none() {
            self.mistake(&object.at(key), format!("`{key}` must be true or false"));
        }
        flag
    }

    pub(super) fn number(
        &mut self,
        object: &Object<'_>,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let value = object.get(key)?;
        let number = whole(value).filter(|number| range.contains(number));
        if number.is_none() {
            self.out_of_range(object, key, value, range.start(), range.end());
        }
        number
    }

    /// A number for which 32 bits are enough; `range` must keep to them.
    pub(super) fn count(
        &mut self,
        object: &Object<'_>,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Option<u32> {
        self.number(object, key, range)
            .and_then(|number| u32::try_from(number).ok())
    }

    /// A number that may be negative.
    pub(super) fn signed(
        &mut self,
        object: &Object<'_>,
        key: &str,
        range: RangeInclusive<i64>,
    ) -> Option<i32> {
        let value = object.get(key)?;
        let negative = || value.as_f64().map(|float| Value::from(-float));
        let number = value
            .as_i64()
            .or_else(|| i64::try_from(whole(value)?).ok())
            .or_else(|| {
                i64::try_from(whole(&negative()?)?)
                    .ok()
                    .map(|number| -number)
            })
            .filter(|number| range.contains(number))
            .and_then(|number| i32::try_from(number).ok());
        if number.is_none() {
            self.out_of_range(object, key, value, range.start(), range.end());
        }
        number
    }

    fn out_of_range(
        &mut self,
        object: &Object<'_>,
        key: &str,
        value: &Value,
        least: &dyn Display,
        most: &dyn Display,
    ) {
        let found = match value {
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "an object".to_owned(),
            Value::String(_) => "a text".to_owned(),
            other => other.to_string(),
        };
        self.mistake(
            &object.at(key),
            format!("`{key}` is {found}, it must be a whole number from {least} to {most}"),
        );
    }

    /// A time in milliseconds.
    pub(super) fn millis(
        &mut self,
        object: &Object<'_>,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Option<Duration> {
        self.number(object, key, range).map(Duration::from_millis)
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        object: &Object<'_>,
        key: &str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let value = object.get(key)?;
        let found = value.as_str().and_then(|text| chosen(text, choices));
        if found.is_none() {
            self.no_choice(key, value.as_str(), &object.at(key), choices);
        }
        found
    }

    pub(super) fn no_choice<T>(
        &mut self,
        key: &str,
        text: Option<&str>,
        path: &str,
        choices: &[(&str, T)],
    ) {
        let words = words(choices);
        let hint = text.map_or_else(String::new, |text| self.did_you_mean(text, &words));
        self.mistake(
            path,
            format!("`{key}` must be {}{hint}", listed(&words, "or")),
        );
    }

    /// A text, or a list of different texts.
    pub(super) fn texts<'v>(&mut self, object: &Object<'v>, key: &str) -> Option<Vec<Item<'v>>> {
        let path = object.at(key);
        let items = match object.get(key)? {
            Value::String(text) => return Some(vec![Item { text, path }]),
            Value::Array(items) => items,
            _ => {
                self.mistake(&path, format!("`{key}` must be a text or a list of texts"));
                return None;
            }
        };
        let mut texts = Vec::with_capacity(items.len());
        let mut seen = HashSet::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}/{index}");
            match item.as_str() {
                None => self.mistake(&path, format!("`{key}` must hold only texts")),
                Some(text) if !seen.insert(text) => {
                    self.mistake(&path, format!("`{text}` is given twice"));
                }
                Some(text) => texts.push(Item { text, path }),
            }
        }
        Some(texts)
    }

    /// Like [`Self::texts`], where an empty list would mean something else than it seems to.
    pub(super) fn some_texts<'v>(
        &mut self,
        object: &Object<'v>,
        key: &str,
    ) -> Option<Vec<Item<'v>>> {
        if object.get(key)?.as_array().is_some_and(Vec::is_empty) {
            self.mistake(
                &object.at(key),
                format!("`{key}` holds nothing; leave it out, or name at least one"),
            );
            return None;
        }
        self.texts(object, key)
    }

    /// An object whose content is not the language's.
    pub(super) fn free_object(&mut self, object: &Object<'_>, key: &str) -> Option<Value> {
        let value = object.get(key)?;
        if value.is_object() {
            return Some(value.clone());
        }
        self.mistake(&object.at(key), format!("`{key}` must be an object"));
        None
    }

    pub(super) fn name(&mut self, value: &Value, path: &str, what: &str) -> Option<String> {
        let Some(name) = value.as_str() else {
            self.mistake(path, format!("the {what} name must be a text"));
            return None;
        };
        let mut bytes = name.bytes();
        let valid = name.len() <= bound::NAME_BYTES
            && bytes.next().is_some_and(|first| first.is_ascii_lowercase())
            && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if valid {
            return Some(name.to_owned());
        }
        self.mistake(
            path,
            format!(
                "the {what} name `{name}` must begin with a lower-case letter and go on with \
                 lower-case letters, digits or `_` (at most {})",
                bound::NAME_BYTES
            ),
        );
        None
    }

    /// The name at `key`, which must be there.
    pub(super) fn required_name(
        &mut self,
        object: &Object<'_>,
        key: &str,
        what: &str,
    ) -> Option<String> {
        match object.get(key) {
            Some(name) => self.name(name, &object.at(key), what),
            None => {
                self.missing(object, key);
                None
            }
        }
    }
}

/// Whether `text` begins and ends as one expression does. Where an expression ends only who can read it
/// knows: braces within, quotes, comments. So the engine sees whether it is exactly one.
pub(super) fn is_expression(text: &str) -> bool {
    let text = text.trim();
    text.starts_with("${") && text.ends_with('}')
}

/// A whole number that is not negative; JSON Schema counts `1000.0` among them.
pub(super) fn whole(value: &Value) -> Option<u64> {
    /// Below this, every whole number is a float of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    value.as_u64().or_else(|| {
        let float = value.as_f64()?;
        let is_whole = float.fract() == 0.0 && (0.0..=EXACT).contains(&float);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is whole, not negative, and below 2^53"
        )]
        is_whole.then_some(float as u64)
    })
}

/// Whether `text` holds an expression, so that it is not yet what it will be.
pub(super) fn holds_expression(text: &str) -> bool {
    text.contains("${")
}

pub(super) fn chosen<T: Copy>(text: &str, choices: &[(&str, T)]) -> Option<T> {
    choices
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, meaning)| *meaning)
}

/// The words as a part of a sentence: `a`, `b` or `c`.
fn listed(words: &[&str], conjunction: &str) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} {conjunction} {last}", first.join(", ")),
    }
}
