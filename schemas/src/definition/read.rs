//! From a text to a [`Definition`], collecting every mistake on the way.

mod action;
mod condition;
mod flow;
mod input_schema;
mod needs;
mod policy;
mod step;
mod trigger;
mod value;

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Value;

pub(super) use self::condition::COMPARISON;

use self::step::Place;
use self::value::Object;
use super::diagnostic::{Diagnostic, Position, Positions};
use super::vocabulary::keys;
use super::{Definition, MAX_DEFINITION_BYTES, MAX_DURATION, document};

/// What the reader may assume.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadOptions<'a> {
    /// The name of a definition that has none of its own (the predecessor stored only the steps).
    pub name: Option<&'a str>,
}

/// A definition that was read, with its JSON form and the place of each part.
#[derive(Debug, Clone)]
pub struct Read {
    /// The typed form.
    pub definition: Definition,
    /// The JSON form, as written (with a name added if it had none).
    pub value: Value,
    /// Where each part begins, by JSON pointer into `value`.
    pub positions: Positions,
}

/// Reads a definition from JSON or YAML.
///
/// # Errors
/// Every mistake there is, in the order of the text. Only a text that is neither JSON nor YAML ends
/// the search at its first mistake.
pub fn read(source: &str, options: ReadOptions<'_>) -> Result<Read, Vec<Diagnostic>> {
    if source.len() > MAX_DEFINITION_BYTES {
        return Err(vec![Diagnostic {
            position: Position::START,
            path: String::new(),
            message: format!(
                "the definition has {} bytes, at most {MAX_DEFINITION_BYTES} are accepted",
                source.len()
            ),
        }]);
    }
    let document = document::parse(source).map_err(|mistake| vec![mistake])?;
    let mut reader = Reader {
        positions: &document.positions,
        mistakes: document.duplicate_keys,
    };
    let definition = reader.definition(&document.value, options);
    let mut mistakes = reader.mistakes;
    match definition {
        Some(definition) if mistakes.is_empty() => {
            let mut value = document.value;
            value["name"] = Value::String(definition.name.clone());
            Ok(Read {
                definition,
                value,
                positions: document.positions,
            })
        }
        _ => {
            mistakes.sort_by_key(|mistake| mistake.position);
            Err(mistakes)
        }
    }
}

struct Reader<'a> {
    positions: &'a Positions,
    mistakes: Vec<Diagnostic>,
}

/// What the steps of a definition have in common.
struct Common<'v> {
    /// `config.maxRetries`.
    max_retries: Option<u32>,
    /// `config.continueOnError`.
    continue_on_error: bool,
    /// Every name that a step assigns.
    assigned: HashSet<&'v str>,
}

impl Reader<'_> {
    fn definition(&mut self, value: &Value, options: ReadOptions<'_>) -> Option<Definition> {
        let shape = "a definition is an object with `name` and `steps`";
        let top = self.object(value, "", shape, keys::DEFINITION)?;
        let name = match (top.get("name"), options.name) {
            (None, Some(name)) => self.name(&Value::String(name.to_owned()), "/name", "workflow"),
            _ => self.required_name(&top, "name", "workflow"),
        };
        let description = self.text(&top, "description");
        let input_schema = self.input_schema(&top);
        let triggers = self.triggers(&top);
        let flow = self.flow(&top);
        let settings = self.config(&top);
        let common = Common {
            max_retries: settings.max_retries,
            continue_on_error: settings.continue_on_error,
            assigned: assigned(&top),
        };
        let steps = self.steps(&top, Place::Main, &common);
        let on_failure = self.steps(&top, Place::OnFailure, &common);
        self.all_steps(&top);
        let (steps, on_failure) = (steps?, on_failure?);
        let waits = steps.iter().any(|step| step.action.waits());
        let cleanup_waits = on_failure.iter().any(|step| step.action.waits());
        Some(Definition {
            name: name?,
            description,
            input_schema,
            triggers,
            flow,
            config: settings.config(
                longest(waits, super::DEFAULT_EXECUTION_TIMEOUT),
                longest(cleanup_waits, super::DEFAULT_CLEANUP_TIMEOUT),
            ),
            steps,
            on_failure,
            output: top.get("output").cloned(),
        })
    }
}

/// The default of a time: people and children may need longer than machines do.
const fn longest(waits: bool, of_machines: Duration) -> Duration {
    if waits { MAX_DURATION } else { of_machines }
}

/// The names assigned anywhere in the definition, whatever else is wrong with it.
fn assigned<'v>(top: &Object<'v>) -> HashSet<&'v str> {
    [Place::Main, Place::OnFailure]
        .into_iter()
        .filter_map(|place| top.get(place.key())?.as_array())
        .flatten()
        .filter_map(|step| step.get("assign")?.as_str())
        .collect()
}

#[cfg(test)]
mod tests;
