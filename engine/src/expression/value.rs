//! What expressions compute with: JSON's values, borrowed from an execution's data where they come
//! from there, and besides them bytes, timestamps and durations.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};

use super::budget::{Budget, OverBudget};
use super::failure::Failure;
use super::limits::{MAX_QUOTED, MAX_VALUE_DEPTH};
use super::time;

/// The kinds a value can have, as a set: what a function takes, and what is known of a value before
/// it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kinds(u16);

impl Kinds {
    pub(super) const NULL: Self = Self(1);
    pub(super) const BOOL: Self = Self(1 << 1);
    pub(super) const NUMBER: Self = Self(1 << 2);
    pub(super) const TEXT: Self = Self(1 << 3);
    pub(super) const LIST: Self = Self(1 << 4);
    pub(super) const OBJECT: Self = Self(1 << 5);
    pub(super) const BYTES: Self = Self(1 << 6);
    pub(super) const INSTANT: Self = Self(1 << 7);
    pub(super) const DURATION: Self = Self(1 << 8);
    pub(super) const NONE: Self = Self(0);
    pub(super) const ANY: Self = Self((1 << 9) - 1);
    /// What JSON has. Data never holds anything else.
    pub(super) const DATA: Self = Self((1 << 6) - 1);

    const NAMES: [(Self, &'static str, &'static str); 9] = [
        (Self::NULL, "null", "null"),
        (Self::BOOL, "a boolean", "boolean"),
        (Self::NUMBER, "a number", "number"),
        (Self::TEXT, "a string", "string"),
        (Self::LIST, "a list", "list"),
        (Self::OBJECT, "an object", "object"),
        (Self::BYTES, "bytes", "bytes"),
        (Self::INSTANT, "a timestamp", "timestamp"),
        (Self::DURATION, "a duration", "duration"),
    ];

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// A place for each single kind in an order of all values.
    pub(super) const fn rank(self) -> u16 {
        self.0
    }

    /// The name of a single kind, as `type` yields it.
    pub(super) fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(kind, ..)| *kind == self)
            .map_or("value", |(.., name)| name)
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = Self::NAMES
            .iter()
            .filter(|(kind, ..)| self.meets(*kind))
            .map(|(_, name, _)| *name)
            .collect();
        match names.as_slice() {
            _ if *self == Self::DATA => f.write_str("a value of JSON"),
            names if names.len() == Self::NAMES.len() => f.write_str("any value"),
            [] => f.write_str("nothing"),
            [only] => f.write_str(only),
            [first @ .., last] => write!(f, "{} or {last}", first.join(", ")),
        }
    }
}

/// A value. Integers are those of JSON as it is stored: of 64 bits, with a sign or without.
#[derive(Debug, Clone)]
pub(super) enum Val<'a> {
    Null,
    Bool(bool),
    Int(i128),
    /// Finite, always.
    Float(f64),
    Text(Text<'a>),
    Bytes(Rc<[u8]>),
    /// Nanoseconds since the Unix epoch.
    Instant(i128),
    /// Nanoseconds.
    Duration(i128),
    List(List<'a>),
    Object(Object<'a>),
}

#[derive(Debug, Clone)]
pub(super) enum Text<'a> {
    Data(&'a str),
    Built(Rc<str>),
}

#[derive(Debug, Clone)]
pub(super) enum List<'a> {
    Data(&'a [Value]),
    Built(Rc<Vec<Val<'a>>>),
}

#[derive(Debug, Clone)]
pub(super) enum Object<'a> {
    Data(&'a Map<String, Value>),
    /// Sorted, so that a replay gives the same bytes.
    Built(Rc<BTreeMap<String, Val<'a>>>),
}

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Data(text) => text,
            Self::Built(text) => text,
        }
    }
}

impl<'a> List<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Data(items) => items.len(),
            Self::Built(items) => items.len(),
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<Val<'a>> {
        match self {
            Self::Data(items) => items.get(index).map(Val::of),
            Self::Built(items) => items.get(index).cloned(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Val<'a>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

impl<'a> Object<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Data(fields) => fields.len(),
            Self::Built(fields) => fields.len(),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<Val<'a>> {
        match self {
            Self::Data(fields) => fields.get(name).map(Val::of),
            Self::Built(fields) => fields.get(name).cloned(),
        }
    }

    /// Sorted: the order in which data holds its fields may differ between two copies of it.
    pub(super) fn keys(&self) -> Vec<&str> {
        match self {
            Self::Data(fields) => {
                let mut keys: Vec<&str> = fields.keys().map(String::as_str).collect();
                keys.sort_unstable();
                keys
            }
            Self::Built(fields) => fields.keys().map(String::as_str).collect(),
        }
    }
}

impl<'a> Val<'a> {
    /// A value of the data, not copied.
    pub(super) fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => Self::number(number),
            Value::String(text) => Self::Text(Text::Data(text)),
            Value::Array(items) => Self::List(List::Data(items)),
            Value::Object(fields) => Self::Object(Object::Data(fields)),
        }
    }

    /// The same for a value that nobody else holds.
    pub(super) fn owned(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(number) => Self::number(&number),
            Value::String(text) => Self::text(text),
            Value::Array(items) => Self::list(items.into_iter().map(Self::owned).collect()),
            Value::Object(fields) => Self::Object(Object::Built(Rc::new(
                fields
                    .into_iter()
                    .map(|(name, field)| (name, Self::owned(field)))
                    .collect(),
            ))),
        }
    }

    fn number(number: &Number) -> Self {
        match (number.as_i64(), number.as_u64()) {
            (Some(signed), _) => Self::Int(i128::from(signed)),
            (None, Some(unsigned)) => Self::Int(i128::from(unsigned)),
            (None, None) => Self::Float(number.as_f64().unwrap_or_default()),
        }
    }

    pub(super) fn text(text: impl Into<Rc<str>>) -> Self {
        Self::Text(Text::Built(text.into()))
    }

    pub(super) fn list(items: Vec<Self>) -> Self {
        Self::List(List::Built(Rc::new(items)))
    }

    pub(super) fn int(number: usize) -> Self {
        Self::Int(i128::try_from(number).unwrap_or(i128::MAX))
    }

    pub(super) fn kind(&self) -> Kinds {
        match self {
            Self::Null => Kinds::NULL,
            Self::Bool(_) => Kinds::BOOL,
            Self::Int(_) | Self::Float(_) => Kinds::NUMBER,
            Self::Text(_) => Kinds::TEXT,
            Self::Bytes(_) => Kinds::BYTES,
            Self::Instant(_) => Kinds::INSTANT,
            Self::Duration(_) => Kinds::DURATION,
            Self::List(_) => Kinds::LIST,
            Self::Object(_) => Kinds::OBJECT,
        }
    }

    /// Its kind and, where it is short, itself: for messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(number) => format!("the number {number}"),
            Self::Float(number) => format!("the number {number}"),
            Self::Text(text) => format!("the string \"{}\"", quoted(text)),
            Self::List(items) => format!("a list of {}", items.len()),
            other => other.kind().to_string(),
        }
    }

    /// Its JSON form: a timestamp is RFC 3339, a duration is in seconds (`5400s`), bytes are base64.
    ///
    /// # Errors
    /// When the budget does not suffice, or it is nested too deep.
    pub(super) fn to_json(&self, budget: &mut Budget) -> Result<Value, Failure<'a>> {
        self.json_at(0, budget)
    }

    fn json_at(&self, depth: usize, budget: &mut Budget) -> Result<Value, Failure<'a>> {
        check_depth(depth)?;
        Ok(match self {
            Self::List(List::Data(items)) => {
                for item in *items {
                    charge_data(item, depth + 1, budget)?;
                }
                Value::Array(items.to_vec())
            }
            Self::Object(Object::Data(fields)) => {
                for (name, field) in *fields {
                    budget.bytes(name.len())?;
                    charge_data(field, depth + 1, budget)?;
                }
                Value::Object((*fields).clone())
            }
            Self::List(List::Built(items)) => {
                budget.charge(1)?;
                let mut list = Vec::with_capacity(items.len());
                for item in items.iter() {
                    list.push(item.json_at(depth + 1, budget)?);
                }
                Value::Array(list)
            }
            Self::Object(Object::Built(fields)) => {
                budget.charge(1)?;
                let mut object = Map::with_capacity(fields.len());
                for (name, field) in fields.iter() {
                    budget.bytes(name.len())?;
                    object.insert(name.clone(), field.json_at(depth + 1, budget)?);
                }
                Value::Object(object)
            }
            scalar => scalar.scalar_json(budget)?,
        })
    }

    fn scalar_json(&self, budget: &mut Budget) -> Result<Value, Failure<'a>> {
        budget.charge(1)?;
        Ok(match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(number) => match (i64::try_from(*number), u64::try_from(*number)) {
                (Ok(signed), _) => Value::from(signed),
                (_, Ok(unsigned)) => Value::from(unsigned),
                _ => return Err(Failure::beyond_64_bits()),
            },
            Self::Float(number) => Number::from_f64(*number)
                .map(Value::Number)
                .ok_or_else(Failure::not_finite)?,
            Self::Text(text) => {
                budget.bytes(text.len())?;
                Value::String((**text).to_owned())
            }
            Self::Bytes(bytes) => {
                budget.bytes(bytes.len())?;
                Value::String(STANDARD.encode(bytes))
            }
            Self::Instant(nanos) => Value::String(time::rfc3339(*nanos)),
            Self::Duration(nanos) => Value::String(time::seconds(*nanos)),
            Self::Null | Self::List(_) | Self::Object(_) => Value::Null,
        })
    }
}

fn check_depth(depth: usize) -> Result<(), OverBudget> {
    if depth > MAX_VALUE_DEPTH {
        return Err(OverBudget(format!(
            "its value is nested deeper than {MAX_VALUE_DEPTH} levels"
        )));
    }
    Ok(())
}

/// Pays for copying a value of the data.
pub(super) fn charge_data(
    value: &Value,
    depth: usize,
    budget: &mut Budget,
) -> Result<(), OverBudget> {
    check_depth(depth)?;
    match value {
        Value::String(text) => budget.bytes(text.len()),
        Value::Array(items) => {
            budget.charge(1)?;
            items
                .iter()
                .try_for_each(|item| charge_data(item, depth + 1, budget))
        }
        Value::Object(fields) => {
            budget.charge(1)?;
            fields.iter().try_for_each(|(name, field)| {
                budget.bytes(name.len())?;
                charge_data(field, depth + 1, budget)
            })
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => budget.charge(1),
    }
}

/// A text as an error may quote it: on one line, and not long.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text
        .chars()
        .take(MAX_QUOTED)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(MAX_QUOTED).is_some() {
        short.push('…');
    }
    short
}
