//! Between JSON and CEL values.

use std::collections::HashMap;
use std::sync::Arc;

use cel::Value as Cel;
use cel::objects::{Key, Map};
use serde_json::{Number, Value};

/// Deepest nesting turned back into JSON; deeper values could only be built to exhaust the stack.
const MAX_DEPTH: usize = 64;

pub(super) fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(signed), _) => Cel::Int(signed),
            (None, Some(unsigned)) => Cel::UInt(unsigned),
            (None, None) => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(fields) => {
            let map: HashMap<Key, Cel> = fields
                .iter()
                .map(|(name, field)| (Key::String(Arc::new(name.clone())), to_cel(field)))
                .collect();
            Cel::Map(Map { map: Arc::new(map) })
        }
    }
}

/// Most values in what an expression yields: a loop can repeat one large value very often.
const MAX_VALUES: usize = 100_000;

/// How many values there are in `value`, itself included.
pub(super) fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

/// The JSON form of what an expression yielded, with sorted keys: CEL's maps have no order, and a
/// replay must give the same bytes.
pub(super) fn to_json(value: &Cel) -> Result<Value, String> {
    at_depth(value, 0, &mut 0)
}

fn at_depth(value: &Cel, depth: usize, values: &mut usize) -> Result<Value, String> {
    *values += 1;
    if *values > MAX_VALUES {
        return Err(format!("its value holds more than {MAX_VALUES} values"));
    }
    if depth > MAX_DEPTH {
        return Err(format!(
            "its value is nested deeper than {MAX_DEPTH} levels"
        ));
    }
    Ok(match value {
        Cel::Null => Value::Null,
        Cel::Bool(value) => Value::Bool(*value),
        Cel::Int(number) => Value::from(*number),
        Cel::UInt(number) => Value::from(*number),
        Cel::Float(number) => Number::from_f64(*number)
            .map(Value::Number)
            .ok_or("its value is not a finite number")?,
        Cel::String(text) => Value::String(text.as_ref().clone()),
        Cel::List(items) => Value::Array(
            items
                .iter()
                .map(|item| at_depth(item, depth + 1, values))
                .collect::<Result<_, _>>()?,
        ),
        Cel::Map(map) => {
            let mut fields = map
                .map
                .iter()
                .map(|(key, field)| Ok((key_text(key), at_depth(field, depth + 1, values)?)))
                .collect::<Result<Vec<_>, String>>()?;
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(fields.into_iter().collect())
        }
        other => {
            return Err(format!(
                "its value is a {}, which JSON cannot hold",
                other.type_of()
            ));
        }
    })
}

fn key_text(key: &Key) -> String {
    match key {
        Key::Int(number) => number.to_string(),
        Key::Uint(number) => number.to_string(),
        Key::Bool(value) => value.to_string(),
        Key::String(text) => text.as_ref().clone(),
    }
}
