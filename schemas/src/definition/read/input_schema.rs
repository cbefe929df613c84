//! `inputSchema`: a JSON Schema in a definition.

use serde_json::Value;

use super::Reader;
use super::value::Object;
use crate::definition::vocabulary::DIALECT;

impl Reader<'_> {
    /// Everything is said here that would otherwise only be seen when an execution is submitted.
    pub(super) fn input_schema(&mut self, top: &Object<'_>) -> Option<Value> {
        const KEY: &str = "inputSchema";
        let schema = self.free_object(top, KEY)?;
        let path = top.at(KEY);
        let before = self.mistakes.len();
        if schema.get("type").is_some_and(|kind| kind != "object") {
            self.mistake(
                &format!("{path}/type"),
                "the input is always an object: `type` must be `object`",
            );
        }
        if schema
            .get("$schema")
            .is_some_and(|dialect| dialect != DIALECT)
        {
            self.mistake(
                &format!("{path}/$schema"),
                format!("`$schema` must be `{DIALECT}`"),
            );
        }
        self.references(&schema, &path);
        for error in jsonschema::draft202012::meta::validator().iter_errors(&schema) {
            self.mistake(
                &format!("{path}{}", error.instance_path()),
                format!("not a valid JSON Schema: {error}"),
            );
        }
        if self.mistakes.len() > before {
            return None;
        }
        // What only shows when it is put together: references that lead nowhere, bad patterns.
        let built = jsonschema::draft202012::options().offline().build(&schema);
        if let Err(error) = built {
            self.mistake(
                &format!("{path}{}", error.instance_path()),
                format!("not a usable JSON Schema: {error}"),
            );
            return None;
        }
        Some(schema)
    }

    /// Nothing is fetched to check an input, so a reference must lead into the schema itself.
    fn references(&mut self, schema: &Value, path: &str) {
        let Some(fields) = schema.as_object() else {
            return;
        };
        for (key, value) in fields {
            let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
            match (key.as_str(), value) {
                // Data, not schemas.
                ("const" | "enum" | "default" | "examples", _) => {}
                ("$ref" | "$dynamicRef", Value::String(target)) if !target.starts_with('#') => {
                    self.mistake(
                        &path,
                        format!("`{key}` must lead into this schema and begin with `#`"),
                    );
                }
                (
                    "properties" | "patternProperties" | "dependentSchemas" | "$defs"
                    | "definitions",
                    Value::Object(named),
                ) => {
                    for (name, schema) in named {
                        let name = name.replace('~', "~0").replace('/', "~1");
                        self.references(schema, &format!("{path}/{name}"));
                    }
                }
                (_, Value::Object(_)) => self.references(value, &path),
                (_, Value::Array(schemas)) => {
                    for (index, schema) in schemas.iter().enumerate() {
                        self.references(schema, &format!("{path}/{index}"));
                    }
                }
                _ => {}
            }
        }
    }
}
