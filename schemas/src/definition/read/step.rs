//! Steps: those of `steps`, and those of `onFailure`.

use std::collections::HashMap;

use serde_json::Value;

use super::value::{Object, is_expression};
use super::{Common, Reader};
use crate::definition::vocabulary::{DEFAULT_ALIAS, keys};
use crate::definition::{
    DEFAULT_MAX_PARALLEL, ForEach, MAX_ITEMS, MAX_STEPS, RESERVED_ROOTS, RetryPolicy, Step, bound,
};

/// Which list a step stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Main,
    OnFailure,
}

impl Place {
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Main => "steps",
            Self::OnFailure => "onFailure",
        }
    }
}

impl Reader<'_> {
    /// The steps of one list, or `None` if any of them cannot be made sense of.
    pub(super) fn steps(
        &mut self,
        top: &Object<'_>,
        place: Place,
        common: &Common<'_>,
    ) -> Option<Vec<Step>> {
        let path = top.at(place.key());
        let items = match (top.get(place.key()), place) {
            (None, Place::OnFailure) => return Some(Vec::new()),
            (None, Place::Main) => {
                self.missing(top, place.key());
                return None;
            }
            (Some(Value::Array(items)), _) => items,
            (Some(_), _) => {
                self.mistake(&path, format!("`{}` must be a list of steps", place.key()));
                return None;
            }
        };
        if items.is_empty() && place == Place::Main {
            self.mistake(&path, "`steps` must hold at least one step");
        }
        if items.len() > MAX_STEPS {
            // Nothing is said of the steps themselves: there are too many to look at.
            self.mistake(
                &path,
                format!(
                    "{} steps are too many, at most {MAX_STEPS} are accepted",
                    items.len()
                ),
            );
            return None;
        }
        let steps: Vec<Step> = items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| self.step(item, &format!("{path}/{index}"), place, common))
            .collect();
        (steps.len() == items.len()).then_some(steps)
    }

    /// What can only be seen of all steps together: how many, twice the same name, and `needs`.
    pub(super) fn all_steps(&mut self, top: &Object<'_>) {
        let of = |place: Place| {
            let items = top.get(place.key()).and_then(Value::as_array);
            items.map_or(&[][..], Vec::as_slice)
        };
        let (main, on_failure) = (of(Place::Main), of(Place::OnFailure));
        let too_many = |steps: usize| steps > MAX_STEPS;
        if too_many(main.len()) || too_many(on_failure.len()) {
            return;
        }
        if too_many(main.len() + on_failure.len()) {
            self.mistake(
                &top.at(Place::OnFailure.key()),
                format!(
                    "with those of `steps` these are {} steps, at most {MAX_STEPS} are accepted",
                    main.len() + on_failure.len()
                ),
            );
        }
        let mut names = HashMap::new();
        for (place, items) in [(Place::Main, main), (Place::OnFailure, on_failure)] {
            for (index, item) in items.iter().enumerate() {
                let Some(name) = item.get("name").and_then(Value::as_str) else {
                    continue;
                };
                let path = format!("/{}/{index}", place.key());
                if let Some(first) = names.get(name) {
                    self.mistake(
                        &format!("{path}/name"),
                        format!("the step at {first} is already named `{name}`"),
                    );
                } else {
                    names.insert(name, path);
                }
            }
        }
        self.check_needs(main);
    }

    fn step(
        &mut self,
        value: &Value,
        path: &str,
        place: Place,
        common: &Common<'_>,
    ) -> Option<Step> {
        let shape = "a step is an object with `name` and `tool`, or another action";
        let step = self.object(value, path, shape, keys::STEP)?;
        let name = self.required_name(&step, "name", "step");
        let action_key = self.action_key(&step);
        self.misplaced(&step, place, action_key);
        let action = action_key.and_then(|key| self.action(&step, key));
        let needs = self.texts(&step, "needs");
        let condition = self.condition(&step);
        let for_each = self.for_each(&step, common);
        let assign = self.assign(&step);
        let retry = match action_key {
            Some("tool") | None => self.retry(&step, common),
            // What it runs has its own attempts; a second layer of them must be asked for.
            Some("workflow") if step.has("retry") => self.retry(&step, common),
            // Nothing is run, so nothing is run again.
            Some(_) => RetryPolicy {
                max_attempts: 1,
                ..RetryPolicy::default()
            },
        };
        let timeout = self.millis(&step, "timeoutMs", bound::TIMEOUT_MS);
        if !step.has("timeoutMs") {
            for (action, key) in keys::ONLY_TIMED {
                if step.get(action).is_some_and(|of| of.get(key).is_some()) {
                    self.mistake(
                        &format!("{}/{key}", step.at(action)),
                        format!(
                            "`{key}` says what it means that the step's `timeoutMs` passed, and \
                             there is no `timeoutMs`"
                        ),
                    );
                }
            }
        }
        let continue_on_error = self
            .flag(&step, "continueOnError")
            .unwrap_or(common.continue_on_error);
        let compensate = self.compensation(&step, common);
        Some(Step {
            name: name?,
            action: action?,
            needs: needs.map(|needs| needs.iter().map(|need| need.text.to_owned()).collect()),
            condition,
            for_each,
            assign,
            retry,
            timeout,
            continue_on_error,
            compensate,
        })
    }

    /// Keys that have no meaning in this step, though in others they have one.
    fn misplaced(&mut self, step: &Object<'_>, place: Place, action: Option<&str>) {
        let mut found = |key: &str, message: String| {
            if step.has(key) {
                self.mistake(&step.at(key), message);
            }
        };
        if place == Place::OnFailure {
            for key in keys::ONLY_MAIN {
                found(
                    key,
                    format!(
                        "`{key}` is not for steps of `onFailure`: they run one after the other"
                    ),
                );
            }
        }
        if !step.has("forEach") {
            for key in ["as", "maxParallel"] {
                found(key, format!("`{key}` is only for steps with `forEach`"));
            }
        }
        let Some(action) = action else { return };
        if action == "workflow" {
            found(
                "params",
                "`params` are only for steps with `tool`; a workflow gets `input`".to_owned(),
            );
        } else if action != "tool" {
            found(
                "params",
                "`params` are only for steps with `tool`".to_owned(),
            );
            for key in keys::ONLY_RUNNING {
                found(
                    key,
                    format!("`{key}` is only for steps with `tool` or `workflow`, not `{action}`"),
                );
            }
        }
    }

    /// Names that expressions already use for something else are refused.
    fn assign(&mut self, step: &Object<'_>) -> Option<String> {
        let path = step.at("assign");
        let name = self.name(step.get("assign")?, &path, "assigned")?;
        self.is_free(&name, &path).then_some(name)
    }

    fn is_free(&mut self, name: &str, path: &str) -> bool {
        let free = !RESERVED_ROOTS.contains(&name);
        if !free {
            self.mistake(
                path,
                format!("`{name}` means something else in expressions; choose another name"),
            );
        }
        free
    }

    fn for_each(&mut self, step: &Object<'_>, common: &Common<'_>) -> Option<ForEach> {
        let list = self.items(step);
        let max_parallel = self
            .count(step, "maxParallel", bound::PARALLEL)
            .unwrap_or(DEFAULT_MAX_PARALLEL);
        let alias = self.alias(step, common);
        Some(ForEach {
            list: list?,
            alias: alias?,
            max_parallel,
        })
    }

    fn items(&mut self, step: &Object<'_>) -> Option<Value> {
        let value = step.get("forEach")?;
        let wrong = match value {
            Value::Array(items) if items.len() > MAX_ITEMS => format!(
                "{} items are too many, at most {MAX_ITEMS} are accepted",
                items.len()
            ),
            Value::Array(_) => return Some(value.clone()),
            // Only without the line break of a block scalar it is one expression and no text. Whether
            // it is exactly one is for the engine, which knows where an expression ends.
            Value::String(text) if is_expression(text) => return Some(Value::from(text.trim())),
            _ => "`forEach` must be a list, or exactly one expression that yields one".to_owned(),
        };
        self.mistake(&step.at("forEach"), wrong);
        None
    }

    /// The name of the item. It must not hide what a step assigns: a name means one thing.
    fn alias(&mut self, step: &Object<'_>, common: &Common<'_>) -> Option<String> {
        let path = step.at("as");
        let alias = match step.get("as") {
            Some(name) => {
                let name = self.name(name, &path, "item's")?;
                self.is_free(&name, &path).then_some(name)?
            }
            None => DEFAULT_ALIAS.to_owned(),
        };
        if !step.has("forEach") {
            return None;
        }
        let taken = [alias.clone(), format!("{alias}_index")]
            .into_iter()
            .find(|name| common.assigned.contains(name.as_str()));
        if let Some(name) = taken {
            let path = if step.has("as") {
                path
            } else {
                step.at("forEach")
            };
            self.mistake(
                &path,
                format!(
                    "a step assigns `{name}`; give the items another name than `{alias}` with `as`"
                ),
            );
            return None;
        }
        Some(alias)
    }
}
