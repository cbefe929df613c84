//! What differs between two versions of a definition: pure, and in an order that depends on them
//! alone.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// Most differences told one by one: who compares two unrelated definitions learns no more from more
/// of them.
const MAX_CHANGES: usize = 1000;

/// The lists whose items have names, by which they are compared wherever they stand.
const NAMED_LISTS: [&str; 2] = ["steps", "onFailure"];

/// What differs.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Diff {
    changes: Vec<Change>,
    steps: Steps,
    /// Differences that are not told one by one.
    more: usize,
}

/// One difference.
#[derive(Debug, PartialEq)]
struct Change {
    op: &'static str,
    /// JSON pointer: into the new definition, or into the old one of what was removed.
    path: String,
    /// The step it is in.
    step: Option<String>,
    old: Option<Value>,
    new: Option<Value>,
}

/// Names of steps, those of `onFailure` too, in the order of their definition.
#[derive(Debug, Default, PartialEq)]
struct Steps {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
    /// They stand elsewhere, of those that are in both.
    moved: Vec<String>,
}

/// What differs between `old` and `new`, both of them valid definitions.
pub(crate) fn diff(old: &Value, new: &Value) -> Diff {
    let mut diff = Diff::default();
    let empty = Map::new();
    let (old, new) = (
        old.as_object().unwrap_or(&empty),
        new.as_object().unwrap_or(&empty),
    );
    for key in keys(old, new) {
        let path = pointer("", key);
        match (old.get(key), new.get(key)) {
            (Some(Value::Array(old)), Some(Value::Array(new))) if NAMED_LISTS.contains(&key) => {
                diff.named(&path, old, new);
            }
            (Some(Value::Array(old)), None) if NAMED_LISTS.contains(&key) => {
                diff.named(&path, old, &[]);
            }
            (None, Some(Value::Array(new))) if NAMED_LISTS.contains(&key) => {
                diff.named(&path, &[], new);
            }
            (old, new) => diff.value(&path, None, old, new),
        }
    }
    diff
}

impl Diff {
    /// As the API shows it.
    pub(crate) fn to_json(&self) -> Value {
        let changes: Vec<Value> = self.changes.iter().map(Change::to_json).collect();
        json!({
            "identical": self.changes.is_empty() && self.steps.moved.is_empty(),
            "changes": changes,
            "more": self.more,
            "steps": {
                "added": self.steps.added,
                "removed": self.steps.removed,
                "changed": self.steps.changed,
                "moved": self.steps.moved,
            },
        })
    }

    fn named(&mut self, path: &str, old: &[Value], new: &[Value]) {
        let find = |list: &'_ [Value], name: &str| list.iter().position(|s| name_of(s) == name);
        for (index, step) in old.iter().enumerate() {
            let name = name_of(step);
            if find(new, name).is_none() {
                self.steps.removed.push(name.to_owned());
                self.value(&format!("{path}/{index}"), Some(name), Some(step), None);
            }
        }
        for (index, step) in new.iter().enumerate() {
            let (name, path) = (name_of(step), format!("{path}/{index}"));
            let Some(before) = find(old, name) else {
                self.steps.added.push(name.to_owned());
                self.value(&path, Some(name), None, Some(step));
                continue;
            };
            let known = self.changes.len() + self.more;
            self.value(&path, Some(name), Some(&old[before]), Some(step));
            if self.changes.len() + self.more > known {
                self.steps.changed.push(name.to_owned());
            }
        }
        self.steps.moved.extend(moved(old, new));
    }

    fn value(&mut self, path: &str, step: Option<&str>, old: Option<&Value>, new: Option<&Value>) {
        match (old, new) {
            (None, None) => {}
            (Some(old), Some(new)) if old == new => {}
            (Some(Value::Object(old)), Some(Value::Object(new))) => {
                for key in keys(old, new) {
                    self.value(&pointer(path, key), step, old.get(key), new.get(key));
                }
            }
            (Some(Value::Array(old)), Some(Value::Array(new))) => {
                for index in 0..old.len().max(new.len()) {
                    let path = format!("{path}/{index}");
                    self.value(&path, step, old.get(index), new.get(index));
                }
            }
            (old, new) => self.found(path, step, old, new),
        }
    }

    fn found(&mut self, path: &str, step: Option<&str>, old: Option<&Value>, new: Option<&Value>) {
        if self.changes.len() >= MAX_CHANGES {
            self.more += 1;
            return;
        }
        self.changes.push(Change {
            op: match (old, new) {
                (None, _) => "added",
                (_, None) => "removed",
                _ => "changed",
            },
            path: path.to_owned(),
            step: step.map(str::to_owned),
            old: old.cloned(),
            new: new.cloned(),
        });
    }
}

impl Change {
    fn to_json(&self) -> Value {
        let mut shown = json!({"op": self.op, "path": self.path});
        if let Some(step) = &self.step {
            shown["step"] = json!(step);
        }
        if let Some(old) = &self.old {
            shown["old"] = old.clone();
        }
        if let Some(new) = &self.new {
            shown["new"] = new.clone();
        }
        shown
    }
}

/// As few of the steps in both lists as have to be moved to come from one order to the other: all but
/// the longest part that is in order already. Definitions have at most a thousand steps, so comparing
/// each with each is cheap.
fn moved(old: &[Value], new: &[Value]) -> Vec<String> {
    let places: Vec<(usize, &str)> = new
        .iter()
        .map(name_of)
        .filter_map(|name| Some((old.iter().position(|s| name_of(s) == name)?, name)))
        .collect();
    // For each step: how many are in order up to it, and the one before it among these.
    let mut best: Vec<(usize, Option<usize>)> = Vec::with_capacity(places.len());
    for (index, (place, _)) in places.iter().enumerate() {
        let before = (0..index)
            .filter(|earlier| places[*earlier].0 < *place)
            .max_by_key(|earlier| (best[*earlier].0, std::cmp::Reverse(*earlier)));
        best.push((before.map_or(0, |before| best[before].0) + 1, before));
    }
    let mut stays = BTreeSet::new();
    let last = (0..best.len()).max_by_key(|index| (best[*index].0, std::cmp::Reverse(*index)));
    let mut next = last;
    while let Some(index) = next {
        stays.insert(index);
        next = best[index].1;
    }
    (0..places.len())
        .filter(|index| !stays.contains(index))
        .map(|index| places[index].1.to_owned())
        .collect()
}

fn name_of(step: &Value) -> &str {
    step["name"].as_str().unwrap_or_default()
}

fn keys<'a>(old: &'a Map<String, Value>, new: &'a Map<String, Value>) -> BTreeSet<&'a str> {
    old.keys().chain(new.keys()).map(String::as_str).collect()
}

/// The pointer to `key` of what `path` points to (RFC 6901).
fn pointer(path: &str, key: &str) -> String {
    format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, n: u32) -> Value {
        json!({"name": name, "tool": "test.echo", "params": {"n": n, "a/b": [1, 2]}})
    }

    #[test]
    fn the_same_is_identical_whatever_its_layout() {
        let one: Value = serde_json::from_str(r#"{"name": "w", "steps": []}"#).expect("JSON");
        let other: Value = serde_json::from_str(r#"{"steps": [], "name": "w"}"#).expect("JSON");
        assert_eq!(diff(&one, &other), Diff::default());
        assert_eq!(diff(&one, &other).to_json()["identical"], true);
    }

    #[test]
    fn steps_are_compared_by_name_and_the_rest_by_place() {
        let old = json!({
            "name": "w",
            "description": "x",
            "config": {"timeoutMs": 1},
            "steps": [step("a", 1), step("b", 1), step("c", 1)],
        });
        let mut changed = step("c", 1);
        changed["params"]["a/b"] = json!([1, 3, 4]);
        let new = json!({
            "name": "w",
            "config": {"timeoutMs": 2, "continueOnError": true},
            "steps": [step("a", 1), step("new", 1), changed],
        });
        let shown = diff(&old, &new).to_json();
        let changes: Vec<(&str, &str)> = shown["changes"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|c| {
                (
                    c["op"].as_str().expect("op"),
                    c["path"].as_str().expect("path"),
                )
            })
            .collect();
        assert_eq!(
            changes,
            [
                ("added", "/config/continueOnError"),
                ("changed", "/config/timeoutMs"),
                ("removed", "/description"),
                ("removed", "/steps/1"),
                ("added", "/steps/1"),
                ("changed", "/steps/2/params/a~1b/1"),
                ("added", "/steps/2/params/a~1b/2"),
            ]
        );
        assert_eq!(
            shown["steps"],
            json!({"added": ["new"], "removed": ["b"], "changed": ["c"], "moved": []})
        );
        let timeout = &shown["changes"][1];
        assert_eq!((&timeout["old"], &timeout["new"]), (&json!(1), &json!(2)));
        assert_eq!(shown["changes"][5]["step"], "c");
        assert_eq!(shown["identical"], false);
    }

    #[test]
    fn another_order_is_a_difference() {
        let old = json!({"steps": [step("a", 1), step("b", 1), step("c", 1)]});
        let new = json!({"steps": [step("b", 1), step("a", 1), step("c", 1)]});
        let shown = diff(&old, &new).to_json();
        assert_eq!(shown["steps"]["moved"], json!(["a"]));
        assert_eq!(shown["changes"], json!([]));
        assert_eq!(shown["identical"], false);
        let steps = |names: &[&str]| -> Vec<Value> { names.iter().map(|n| step(n, 1)).collect() };
        let moved = |new: &[&str]| moved(&steps(&["a", "b", "c", "d"]), &steps(new));
        assert_eq!(moved(&["d", "a", "b", "c"]), ["d"]);
        assert_eq!(moved(&["a", "new", "b", "d"]), Vec::<String>::new());
        assert_eq!(moved(&[]), Vec::<String>::new());
    }

    #[test]
    fn what_is_told_is_bounded() {
        let many = |from: usize| -> Value { (from..from + MAX_CHANGES + 5).collect() };
        let (old, new) = (json!({"input": many(0)}), json!({"input": many(1)}));
        let diff = diff(&old, &new);
        assert_eq!((diff.changes.len(), diff.more), (MAX_CHANGES, 5));
    }
}
