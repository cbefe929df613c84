//! Tool contracts: what each tool takes, gives and does, as data that validation, workers and the
//! gateway share.
//!
//! A contract is written once, as a parameter type and an output type; their JSON Schemas are
//! derived. The worker that implements the tool uses the same types.

pub mod github;
mod kind;
pub mod test;

use std::collections::HashMap;
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde_json::{Map, Value};

pub use kind::{KindProfile, kind_index, kind_profile, kinds};

use crate::id::ToolName;

/// What a tool takes, gives and does.
#[derive(Debug, Clone)]
pub struct ToolContract {
    /// Its canonical name.
    pub name: ToolName,
    /// One sentence for people and for language models.
    pub description: &'static str,
    /// JSON Schema (2020-12) of its parameters.
    pub input_schema: Value,
    /// JSON Schema (2020-12) of its output.
    pub output_schema: Value,
    /// What it does to the world.
    pub effect: Effect,
    /// Names of the predecessor under which it is also known, without the kind.
    pub aliases: &'static [&'static str],
}

/// What a tool does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It only reads.
    ReadOnly,
    /// It adds or changes something, and can be repeated harmlessly under the same key.
    Additive,
    /// It can destroy something.
    Destructive,
}

impl ToolContract {
    fn new<P: JsonSchema, O: JsonSchema>(
        name: &'static str,
        description: &'static str,
        effect: Effect,
        aliases: &'static [&'static str],
    ) -> Self {
        Self {
            name: name.parse().expect("names of built-in tools are valid"),
            description,
            input_schema: schemars::schema_for!(P).into(),
            output_schema: schemars::schema_for!(O).into(),
            effect,
            aliases,
        }
    }

    /// Checks what can be known of parameters before they are resolved: unknown and missing names,
    /// and the values that hold no expression. Each mistake comes with its place, as a JSON pointer
    /// below the parameters.
    pub fn check_params(&self, params: &Map<String, Value>) -> Vec<(String, String)> {
        let mut mistakes = Vec::new();
        let empty = Map::new();
        let properties = self
            .input_schema
            .get("properties")
            .and_then(Value::as_object)
            .unwrap_or(&empty);
        for (name, value) in params {
            let Some(schema) = properties.get(name) else {
                let hint = closest(name, properties.keys().map(String::as_str))
                    .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                mistakes.push((
                    format!("/{name}"),
                    format!("`{}` has no parameter `{name}`{hint}", self.name),
                ));
                continue;
            };
            if holds_expression(value) {
                continue;
            }
            if let Err(message) = self.check_value(schema, value) {
                mistakes.push((format!("/{name}"), format!("parameter `{name}`: {message}")));
            }
        }
        let required = self
            .input_schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        for name in required.filter_map(Value::as_str) {
            if !params.contains_key(name) {
                mistakes.push((
                    String::new(),
                    format!("`{}` needs the parameter `{name}`", self.name),
                ));
            }
        }
        mistakes
    }

    fn check_value(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let mut schema = schema.clone();
        // Properties refer to shared definitions at the root of the tool's schema.
        if let (Some(object), Some(definitions)) =
            (schema.as_object_mut(), self.input_schema.get("$defs"))
        {
            object.insert("$defs".to_owned(), definitions.clone());
        }
        jsonschema::validate(&schema, value).map_err(|error| error.to_string())
    }
}

/// Whether a string anywhere in `value` holds `${`.
fn holds_expression(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("${"),
        Value::Array(items) => items.iter().any(holds_expression),
        Value::Object(fields) => fields.values().any(holds_expression),
        _ => false,
    }
}

static CONTRACTS: LazyLock<Vec<ToolContract>> = LazyLock::new(|| {
    let mut contracts = github::contracts();
    contracts.extend(test::contracts());
    contracts
});

static BY_NAME: LazyLock<HashMap<ToolName, &'static ToolContract>> = LazyLock::new(|| {
    let mut names = HashMap::new();
    for contract in CONTRACTS.iter() {
        names.insert(contract.name.clone(), contract);
        for alias in contract.aliases {
            let alias = ToolName::new(contract.name.kind().clone(), *alias)
                .expect("aliases of built-in tools are valid");
            names.insert(alias, contract);
        }
    }
    names
});

/// Every tool there is, in a stable order.
pub fn contracts() -> &'static [ToolContract] {
    &CONTRACTS
}

/// The contract of the tool called `name`, by its own name or an alias.
pub fn contract(name: &ToolName) -> Option<&'static ToolContract> {
    BY_NAME.get(name).copied()
}

/// The known tool whose name is nearest to `name`, if one is near.
pub fn nearest(name: &ToolName) -> Option<String> {
    let names: Vec<String> = BY_NAME.keys().map(ToString::to_string).collect();
    let mut sorted: Vec<&str> = names.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    closest(&name.to_string(), sorted.into_iter()).map(str::to_owned)
}

/// The candidate nearest to `word` by edit distance, if it is near enough to be a slip.
pub(crate) fn closest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (edit_distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance, case-insensitive.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().flat_map(char::to_lowercase).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contract_has_closed_schemas_and_a_profile() {
        for contract in contracts() {
            assert_eq!(contract.input_schema["type"], "object", "{}", contract.name);
            assert_eq!(
                contract.input_schema["additionalProperties"], false,
                "{} would accept misspelt parameters",
                contract.name
            );
            assert_eq!(
                contract.output_schema["type"], "object",
                "{}",
                contract.name
            );
            assert!(
                kind_profile(contract.name.kind()).is_some(),
                "{}",
                contract.name
            );
        }
    }

    #[test]
    fn aliases_lead_to_the_same_contract() {
        let alias: ToolName = "github.commitFileChanges".parse().expect("valid");
        assert_eq!(contract(&alias).expect("known").name.name(), "commitFiles");
    }
}
