//! What a workflow's inputs must look like.

use serde_json::{Map, Value};
use thiserror::Error;

/// Most mistakes told of one input: whoever reads them mends one and tries again.
const MAX_MISTAKES: usize = 20;

/// A compiled `inputSchema`.
#[derive(Debug)]
pub struct InputSchema {
    schema: Value,
    validator: jsonschema::Validator,
}

/// Why an input does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the input does not fit the workflow's inputSchema: {}", .mistakes.join("; "))]
pub struct InputError {
    /// Each with its place.
    pub mistakes: Vec<String>,
}

impl InputSchema {
    /// Compiles `schema`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(schema: &Value) -> Result<Self, String> {
        let validator = jsonschema::draft202012::new(schema).map_err(|error| error.to_string())?;
        Ok(Self {
            schema: schema.clone(),
            validator,
        })
    }

    /// `input` with the schema's defaults filled in. Doing it twice gives the same.
    ///
    /// # Errors
    /// Every place at which it does not fit, up to a bound.
    pub fn prepare(&self, mut input: Value) -> Result<Value, InputError> {
        fill_defaults(&self.schema, &mut input);
        let mistakes: Vec<String> = self
            .validator
            .iter_errors(&input)
            .take(MAX_MISTAKES)
            .map(|error| {
                let place = error.instance_path().to_string();
                let place = if place.is_empty() { "/" } else { &place };
                shorten(&format!("{place}: {error}"))
            })
            .collect();
        if mistakes.is_empty() {
            Ok(input)
        } else {
            Err(InputError { mistakes })
        }
    }
}

/// Fills in what `properties` say by `default`, at every depth that is described by `properties`.
fn fill_defaults(schema: &Value, value: &mut Value) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    let Some(fields) = value.as_object_mut() else {
        return;
    };
    for (name, property) in properties {
        if !fields.contains_key(name)
            && let Some(default) = property.get("default")
        {
            fields.insert(name.clone(), default.clone());
        }
        if let Some(field) = fields.get_mut(name).filter(|field| field.is_object()) {
            fill_defaults(property, field);
        }
    }
}

/// The validator quotes the value, which may be large.
fn shorten(message: &str) -> String {
    const MAX_CHARS: usize = 300;
    match message.char_indices().nth(MAX_CHARS) {
        None => message.to_owned(),
        Some((at, _)) => format!("{}…", &message[..at]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_are_filled_in_and_mistakes_have_a_place() {
        let schema = InputSchema::new(&json!({
            "type": "object",
            "properties": {
                "n": { "type": "integer", "default": 7 },
                "where": {
                    "type": "object",
                    "properties": { "city": { "type": "string", "default": "x" } },
                },
                "name": { "type": "string" },
            },
            "required": ["name"],
            "additionalProperties": false,
        }))
        .expect("a valid schema");
        let given = json!({ "name": "a", "where": {} });
        let prepared = schema.prepare(given).expect("it fits");
        assert_eq!(
            prepared,
            json!({ "name": "a", "n": 7, "where": { "city": "x" } })
        );
        assert_eq!(schema.prepare(prepared.clone()), Ok(prepared));
        let error = schema
            .prepare(json!({ "n": "seven", "more": 1 }))
            .expect_err("three mistakes");
        assert_eq!(error.mistakes.len(), 3, "{error}");
        assert!(
            error
                .mistakes
                .iter()
                .any(|mistake| mistake.starts_with("/n:"))
        );
    }
}
