//! `inputSchema`: a JSON Schema in a definition.

use serde_json::Value;

use super::Reader;
use super::value::Object;
use crate::definition::input_schema::{compile_input_schema, tangle, target};
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
        self.references(&schema, &schema, &path);
        for error in jsonschema::draft202012::meta::validator().iter_errors(&schema) {
            self.mistake(
                &format!("{path}{}", error.instance_path()),
                format!("not a valid JSON Schema: {error}"),
            );
        }
        if self.mistakes.len() > before {
            return None;
        }
        if let Some(tangle) = tangle(&schema) {
            self.mistake(&path, tangle);
            return None;
        }
        // What only shows when it is put together: bad patterns.
        if let Err(error) = compile_input_schema(&schema) {
            self.mistake(
                &format!("{path}{}", error.instance_path()),
                format!("not a usable JSON Schema: {error}"),
            );
            return None;
        }
        Some(schema)
    }

    /// Nothing is fetched to check an input, so a reference must lead into the schema itself; and as
    /// what a check takes is counted before it is made, by a way that can be counted.
    fn references(&mut self, root: &Value, schema: &Value, path: &str) {
        let Some(fields) = schema.as_object() else {
            return;
        };
        for (key, value) in fields {
            let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
            match (key.as_str(), value) {
                // Data, not schemas.
                ("const" | "enum" | "default" | "examples", _) => {}
                ("$ref", Value::String(reference)) if target(root, reference).is_none() => {
                    self.mistake(
                        &path,
                        "`$ref` must lead to a schema in this schema: `#`, or `#/` and the keys \
                             to it, like `#/$defs/name`",
                    );
                }
                ("$dynamicRef" | "$recursiveRef", _) => {
                    self.mistake(&path, format!("`{key}` is not known here; write `$ref`"));
                }
                ("$id", _) if !std::ptr::eq(root, schema) => {
                    self.mistake(
                        &path,
                        "`$id` is only for the whole schema: below it, references would lead \
                         elsewhere",
                    );
                }
                (
                    "properties" | "patternProperties" | "dependentSchemas" | "$defs"
                    | "definitions",
                    Value::Object(named),
                ) => {
                    for (name, schema) in named {
                        let name = name.replace('~', "~0").replace('/', "~1");
                        self.references(root, schema, &format!("{path}/{name}"));
                    }
                }
                (_, Value::Object(_)) => self.references(root, value, &path),
                (_, Value::Array(schemas)) => {
                    for (index, schema) in schemas.iter().enumerate() {
                        self.references(root, schema, &format!("{path}/{index}"));
                    }
                }
                _ => {}
            }
        }
    }
}
