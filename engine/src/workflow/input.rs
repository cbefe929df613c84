//! What a workflow's inputs must look like.

use afu9_schemas::definition::{MAX_WORK, compile_input_schema, is_cheap_to_check};
use serde_json::{Map, Value, json};
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
    /// Compiles `schema`, which the reader has accepted.
    ///
    /// # Errors
    /// What is wrong with it, each with the JSON pointer of its place in the schema.
    pub fn new(schema: &Value) -> Result<Self, Vec<(String, String)>> {
        let validator = compile_input_schema(schema).map_err(|error| {
            let place = error.instance_path().to_string();
            vec![(place, error.to_string())]
        })?;
        let mistakes = mistaken_defaults(schema);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(Self {
            schema: schema.clone(),
            validator,
        })
    }

    /// `input` with the schema's defaults filled in. Doing it twice gives the same.
    ///
    /// # Errors
    /// Every place at which it does not fit, up to a bound; or that checking it would take too long.
    pub fn prepare(&self, mut input: Value) -> Result<Value, InputError> {
        fill_defaults(&self.schema, &mut input);
        if !is_cheap_to_check(&self.schema, &self.schema, &input) {
            let mistake = format!(
                "/: checking it takes more than {MAX_WORK} steps, or goes too deep; make the input \
                 smaller, or let the schema refer to itself less often"
            );
            return Err(InputError {
                mistakes: vec![mistake],
            });
        }
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

/// Fills in what `properties` say by `default`, at every depth that is described by `properties`. An
/// object that is not there is not made: its schema may require what no default gives.
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

/// Defaults that are filled in and do not fit, by their place. A default is filled in itself before it
/// is checked, as it is when it is used.
fn mistaken_defaults(schema: &Value) -> Vec<(String, String)> {
    const ROOT: &str = "afu9:input";
    let mut defaults = Vec::new();
    find_defaults(schema, "", &mut defaults);
    if defaults.is_empty() {
        return Vec::new();
    }
    // One schema that refers to each property's, and one value that has each default under its place.
    let (mut asked, mut given) = (Map::new(), Map::new());
    let mut mistakes = Vec::new();
    for (place, property, default) in defaults {
        let mut value = default.clone();
        fill_defaults(property, &mut value);
        if is_cheap_to_check(schema, property, &value) {
            asked.insert(
                place.clone(),
                json!({ "$ref": format!("{ROOT}#{}", encoded(&place)) }),
            );
            given.insert(place, value);
        } else {
            let message = "checking the default takes too long".to_owned();
            mistakes.push((format!("{place}/default"), message));
        }
    }
    let mut whole = schema.clone();
    whole["$id"] = Value::from(ROOT);
    let checks = json!({ "properties": asked, "$defs": { "input": whole } });
    match compile_input_schema(&checks) {
        Ok(validator) => {
            let given = Value::Object(given);
            for error in validator.iter_errors(&given).take(MAX_MISTAKES) {
                let path = error.instance_path().to_string();
                let place = path.split('/').nth(1).unwrap_or_default();
                let place = place.replace("~1", "/").replace("~0", "~");
                let message = format!("the default does not fit: {error}");
                mistakes.push((format!("{place}/default"), shorten(&message)));
            }
        }
        Err(error) => mistakes.push((String::new(), error.to_string())),
    }
    mistakes
}

/// A JSON pointer as the fragment of a URI.
fn encoded(pointer: &str) -> String {
    let mut fragment = String::with_capacity(pointer.len());
    for byte in pointer.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-' | b'.' | b'~') {
            fragment.push(char::from(byte));
        } else {
            fragment.push_str(&format!("%{byte:02X}"));
        }
    }
    fragment
}

/// The properties with a default that [`fill_defaults`] can come to, with their places.
fn find_defaults<'s>(
    schema: &'s Value,
    path: &str,
    found: &mut Vec<(String, &'s Value, &'s Value)>,
) {
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let name = name.replace('~', "~0").replace('/', "~1");
        let place = format!("{path}/properties/{name}");
        if let Some(default) = property.get("default") {
            found.push((place.clone(), property, default));
        }
        find_defaults(property, &place, found);
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

    #[test]
    fn an_object_is_made_where_it_has_a_default() {
        let schema = |place: Value| {
            InputSchema::new(&json!({ "properties": { "where": place } })).expect("valid")
        };
        let city = json!({ "city": { "default": "x" } });
        let absent = schema(json!({ "properties": city, "required": ["zip"] }));
        assert_eq!(absent.prepare(json!({})), Ok(json!({})));
        let made = schema(json!({ "properties": city, "default": {}, "required": ["city"] }));
        assert_eq!(
            made.prepare(json!({})),
            Ok(json!({ "where": { "city": "x" } }))
        );
    }

    #[test]
    fn a_default_must_fit_its_own_schema() {
        let mistakes = InputSchema::new(&json!({
            "properties": {
                "a/b": { "type": "integer", "default": "seven" },
                "50 % ä": { "type": "integer", "default": "all" },
                "fine": { "$ref": "#/$defs/name", "default": "ann" },
                "deep": { "properties": { "n": { "$ref": "#/$defs/name", "default": 7 } } },
                "made": { "type": "object", "default": {}, "required": ["n"] },
            },
            "$defs": { "name": { "type": "string" } },
        }))
        .expect_err("four of them do not fit");
        let mut places: Vec<&str> = mistakes.iter().map(|(place, _)| place.as_str()).collect();
        places.sort_unstable();
        assert_eq!(
            places,
            [
                "/properties/50 % ä/default",
                "/properties/a~1b/default",
                "/properties/deep/properties/n/default",
                "/properties/made/default"
            ],
            "{mistakes:?}"
        );
    }

    #[test]
    fn an_input_that_takes_too_long_to_check_is_refused_at_once() {
        let twice = json!([{ "$ref": "#/$defs/node" }, { "$ref": "#/$defs/node" }]);
        let schema = InputSchema::new(&json!({
            "$ref": "#/$defs/node",
            "$defs": { "node": { "properties": { "next": { "allOf": twice } } } },
        }))
        .expect("a valid schema");
        let mut input = json!({});
        for _ in 0..5 {
            input = json!({ "next": input });
        }
        assert!(schema.prepare(input.clone()).is_ok());
        for _ in 0..30 {
            input = json!({ "next": input });
        }
        let error = schema.prepare(input).expect_err("two to the power of 35");
        assert!(error.mistakes[0].contains("takes more than"), "{error}");
    }
}
