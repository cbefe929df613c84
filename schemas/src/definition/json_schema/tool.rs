//! Tools and their parameters, from the tools' contracts.

use serde_json::{Map, Value, json};

use super::{entries, reference};
use crate::definition::bound;
use crate::tool::{self, ToolContract};

pub(super) fn definitions() -> Map<String, Value> {
    let mut definitions = Map::new();
    let mut names = Vec::new();
    let mut rules = Vec::new();
    for contract in tool::contracts() {
        let of_tool = names_of(contract);
        let params = format!("{}.params", contract.name);
        let mut then = json!({
            "properties": {
                "tool": {"description": contract.description},
                "params": reference(&params),
            },
        });
        if contract.input_schema.get("required").is_some() {
            then["required"] = json!(["params"]);
        }
        rules.push(json!({
            "if": {"required": ["tool"], "properties": {"tool": {"enum": of_tool}}},
            "then": then,
        }));
        names.extend(of_tool);
        definitions.extend(params_of(contract, params));
    }
    definitions.extend(entries(json!({
        "tool": {
            "description": "`kind.name`, or one of the predecessor's names.",
            "enum": names,
        },
        "toolParams": {
            "$comment": "Which parameters a tool takes.",
            "allOf": rules,
        },
        "signal": {
            "description": "The name of a signal.",
            "type": "string",
            "pattern": "^[A-Za-z0-9._-]+$",
            "maxLength": bound::SIGNAL_BYTES,
        },
    })));
    definitions
}

/// Its own name first, then its aliases.
fn names_of(contract: &ToolContract) -> Vec<String> {
    let aliases = contract
        .aliases
        .iter()
        .map(|alias| format!("{}.{alias}", contract.name.kind()));
    std::iter::once(contract.name.to_string())
        .chain(aliases)
        .collect()
}

/// The schema of a tool's parameters, in which every value may also be one with an expression in it,
/// and what it refers to.
fn params_of(contract: &ToolContract, name: String) -> Map<String, Value> {
    let prefix = contract.name.to_string();
    let mut schema = entries(contract.input_schema.clone());
    let shared = schema.remove("$defs").map(entries).unwrap_or_default();
    schema.remove("$schema");
    schema.remove("title");
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for property in properties.values_mut() {
            *property = or_expression(moved(property, &prefix));
        }
    }
    let shared = shared
        .into_iter()
        .map(|(key, schema)| (format!("{prefix}.{key}"), moved(&schema, &prefix)));
    shared.chain([(name, Value::Object(schema))]).collect()
}

/// The description and the default stay outside, where editors look for them. That a value may be
/// absent is no default to propose.
fn or_expression(mut schema: Value) -> Value {
    let mut either = Map::new();
    for key in ["description", "default"] {
        let moved = schema
            .as_object_mut()
            .and_then(|schema| schema.shift_remove(key))
            .filter(|value| !value.is_null());
        either.extend(moved.map(|value| (key.to_owned(), value)));
    }
    either.insert(
        "anyOf".to_owned(),
        json!([schema, reference("holdsExpression")]),
    );
    Value::Object(either)
}

/// `schema` with its references led to where the definitions of the tool `prefix` stand here.
fn moved(schema: &Value, prefix: &str) -> Value {
    match schema {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| {
                let value = match (key.as_str(), value) {
                    ("$ref", Value::String(target)) => {
                        Value::String(target.replacen("#/$defs/", &format!("#/$defs/{prefix}."), 1))
                    }
                    _ => moved(value, prefix),
                };
                (key.clone(), value)
            })
            .collect(),
        Value::Array(items) => items.iter().map(|item| moved(item, prefix)).collect(),
        other => other.clone(),
    }
}
