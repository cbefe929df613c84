//! `inputSchema`: what may be in it, how it is compiled, and what checking a value by it takes.
//!
//! The reader refuses what the schema itself shows; the engine compiles it and asks before it checks an
//! input.
//!
//! **Invariant:** no schema and no input make compiling or checking take long. References can multiply:
//! twenty definitions that name the next one twice each stand for a million, and one that names itself
//! twice doubles at each level of the input. So what a check would visit is counted first, and the
//! count stops at [`MAX_WORK`].

use std::collections::HashSet;

use serde_json::Value;

/// Most visits of a part of a schema to a part of a value for one check: some tens of milliseconds.
pub const MAX_WORK: u64 = 1_000_000;

/// Deepest that parts of a schema, references followed, may stand in each other, and deepest that a
/// check goes: the library calls itself for each level.
const MAX_LEVELS: usize = 128;

/// Most schemas that are looked through for all `unevaluated…` of a schema, one that is reached in
/// several ways once for each: the library copies them when it compiles.
const MAX_UNEVALUATED: usize = 10_000;

/// Largest compiled pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// Bytes of a text that count as one visit: a pattern reads all of it.
const TEXT_BYTES_PER_VISIT: usize = 64;

/// Keywords with one schema for the same value, for many values below it, or with a list or an object of
/// schemas.
const SAME: &[&str] = &["not", "if", "then", "else"];
const SAME_LIST: &[&str] = &["allOf", "anyOf", "oneOf"];
const SAME_NAMED: &[&str] = &["dependentSchemas", "dependencies"];
const EVERY_FIELD: &[&str] = &["additionalProperties", "unevaluatedProperties"];
const EVERY_ITEM: &[&str] = &["items", "contains", "unevaluatedItems"];

/// Compiles a schema that the reader has accepted. Patterns are of the kind that takes linear time, so
/// they know neither look-around nor back references.
///
/// # Errors
/// What cannot be compiled, with its place: a pattern that is none, a reference that leads nowhere.
pub fn compile_input_schema(
    schema: &Value,
) -> Result<jsonschema::Validator, jsonschema::ValidationError<'static>> {
    jsonschema::draft202012::options()
        .offline()
        .with_pattern_options(jsonschema::PatternOptions::regex().size_limit(MAX_PATTERN_BYTES))
        .build(schema)
}

/// Whether checking `value` by `part` of `schema`, which the reader has accepted, stays within
/// [`MAX_WORK`].
pub fn is_cheap_to_check(schema: &Value, part: &Value, value: &Value) -> bool {
    let mut work = Work {
        root: schema,
        left: MAX_WORK,
    };
    work.visit(part, value, 0).is_some()
}

/// Counts what a check would visit, at least.
struct Work<'s> {
    root: &'s Value,
    left: u64,
}

impl<'s> Work<'s> {
    fn pay(&mut self, visits: usize) -> Option<()> {
        let visits = u64::try_from(visits).unwrap_or(u64::MAX);
        self.left = self.left.checked_sub(visits)?;
        Some(())
    }

    /// `None` as soon as it is too much.
    fn visit(&mut self, schema: &'s Value, value: &Value, level: usize) -> Option<()> {
        if level > MAX_LEVELS {
            return None;
        }
        let Some(keywords) = schema.as_object() else {
            return self.pay(1);
        };
        self.pay(1 + keywords.len())?;
        let under = level + 1;
        // What is not evaluated yet is found out by asking the other keywords again.
        let times = 1
            + usize::from(keywords.contains_key("unevaluatedProperties"))
            + usize::from(keywords.contains_key("unevaluatedItems"));
        for (keyword, inside) in keywords {
            let keyword = keyword.as_str();
            for below in parts_for_the_same(self.root, keyword, inside) {
                for _ in 0..times {
                    self.visit(below, value, under)?;
                }
            }
            match (keyword, inside, value) {
                ("enum", Value::Array(options), _) => self.pay(options.len())?,
                ("pattern" | "format", _, Value::String(text)) => {
                    self.pay(text.len() / TEXT_BYTES_PER_VISIT)?;
                }
                ("uniqueItems", _, Value::Array(items)) => self.pay(items.len())?,
                ("properties", Value::Object(named), Value::Object(fields)) => {
                    self.pay(named.len())?;
                    for (name, below) in named {
                        if let Some(field) = fields.get(name) {
                            self.visit(below, field, under)?;
                        }
                    }
                }
                // Which fields a pattern fits is not asked: it may be all of them.
                ("patternProperties", Value::Object(named), Value::Object(fields)) => {
                    for below in named.values() {
                        for (name, field) in fields {
                            self.pay(1 + name.len() / TEXT_BYTES_PER_VISIT)?;
                            self.visit(below, field, under)?;
                        }
                    }
                }
                ("propertyNames", below, Value::Object(fields)) => {
                    for name in fields.keys() {
                        self.visit(below, &Value::String(name.clone()), under)?;
                    }
                }
                (every, below, Value::Object(fields)) if EVERY_FIELD.contains(&every) => {
                    for field in fields.values() {
                        self.visit(below, field, under)?;
                    }
                }
                ("prefixItems", Value::Array(schemas), Value::Array(items)) => {
                    for (below, item) in schemas.iter().zip(items) {
                        self.visit(below, item, under)?;
                    }
                }
                (every, below, Value::Array(items)) if EVERY_ITEM.contains(&every) => {
                    for item in items {
                        self.visit(below, item, under)?;
                    }
                }
                _ => {}
            }
        }
        Some(())
    }
}

/// The schemas in `inside`, what `keyword` has, that are about the same value.
fn parts_for_the_same<'s>(root: &'s Value, keyword: &str, inside: &'s Value) -> Vec<&'s Value> {
    match (keyword, inside) {
        ("$ref", Value::String(reference)) => target(root, reference).into_iter().collect(),
        (_, Value::Array(schemas)) if SAME_LIST.contains(&keyword) => schemas.iter().collect(),
        (_, Value::Object(named)) if SAME_NAMED.contains(&keyword) => named.values().collect(),
        (_, schema) if SAME.contains(&keyword) => vec![schema],
        _ => Vec::new(),
    }
}

/// The schemas in `inside`, what `keyword` has, that are about parts of the value.
fn parts_for_parts<'s>(keyword: &str, inside: &'s Value) -> Vec<&'s Value> {
    match (keyword, inside) {
        ("properties" | "patternProperties" | "$defs" | "definitions", Value::Object(named)) => {
            named.values().collect()
        }
        ("prefixItems", Value::Array(schemas)) => schemas.iter().collect(),
        ("propertyNames", schema) => vec![schema],
        (_, schema) if EVERY_FIELD.contains(&keyword) || EVERY_ITEM.contains(&keyword) => {
            vec![schema]
        }
        _ => Vec::new(),
    }
}

/// Where a reference leads: `#`, or `#/` and a JSON pointer without percent signs.
pub(super) fn target<'s>(root: &'s Value, reference: &str) -> Option<&'s Value> {
    let pointer = reference.strip_prefix('#')?;
    if pointer.contains('%') {
        return None;
    }
    root.pointer(pointer)
        .filter(|schema| schema.is_object() || schema.is_boolean())
}

/// What is wrong with the references of a schema, taken together: one that leads to itself for the same
/// value never ends, and a very long chain of them needs too much stack.
pub(super) fn tangle(schema: &Value) -> Option<&'static str> {
    let mut shape = Shape {
        root: schema,
        reached: HashSet::new(),
        ended: HashSet::new(),
        open: HashSet::new(),
        unevaluated: MAX_UNEVALUATED,
    };
    shape.reach(schema, 0).err()
}

/// Schemas are known by their address in `root`.
struct Shape<'s> {
    root: &'s Value,
    reached: HashSet<*const Value>,
    /// Those about whose own value all is known.
    ended: HashSet<*const Value>,
    /// Those about the same value that stand around.
    open: HashSet<*const Value>,
    /// How many more may be looked through for `unevaluated…`.
    unevaluated: usize,
}

impl<'s> Shape<'s> {
    /// Goes to every schema once, in the order in which they are compiled.
    fn reach(&mut self, schema: &'s Value, level: usize) -> Result<(), &'static str> {
        if level > MAX_LEVELS {
            return Err("with its references followed, the schema is nested too deep");
        }
        let Some(keywords) = schema.as_object() else {
            return Ok(());
        };
        if !self.reached.insert(std::ptr::from_ref(schema)) {
            return Ok(());
        }
        self.ends(schema)?;
        if keywords
            .keys()
            .any(|keyword| keyword.starts_with("unevaluated"))
        {
            self.spread(schema)?;
        }
        for (keyword, inside) in keywords {
            let same = parts_for_the_same(self.root, keyword, inside);
            for below in same.into_iter().chain(parts_for_parts(keyword, inside)) {
                self.reach(below, level + 1)?;
            }
        }
        Ok(())
    }

    /// What is about the same value as `schema`, which ends.
    fn spread(&mut self, schema: &'s Value) -> Result<(), &'static str> {
        let Some(left) = self.unevaluated.checked_sub(1) else {
            return Err("references multiply too much below an `unevaluated…`");
        };
        self.unevaluated = left;
        for (keyword, inside) in schema.as_object().into_iter().flatten() {
            for below in parts_for_the_same(self.root, keyword, inside) {
                self.spread(below)?;
            }
        }
        Ok(())
    }

    /// Whether asking `schema` of a value ever ends asking about this value.
    fn ends(&mut self, schema: &'s Value) -> Result<(), &'static str> {
        let address = std::ptr::from_ref(schema);
        let Some(keywords) = schema
            .as_object()
            .filter(|_| !self.ended.contains(&address))
        else {
            return Ok(());
        };
        if !self.open.insert(address) {
            return Err(
                "a reference leads back to where it stands without going into a part of the value",
            );
        }
        if self.open.len() > MAX_LEVELS {
            return Err("with its references followed, the schema is nested too deep");
        }
        for (keyword, inside) in keywords {
            for below in parts_for_the_same(self.root, keyword, inside) {
                self.ends(below)?;
            }
        }
        self.open.remove(&address);
        self.ended.insert(address);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `levels` definitions, each of which names the next one twice.
    fn doubling(levels: usize, keyword: &str) -> Value {
        let next = |level: usize| json!({ "$ref": format!("#/$defs/a{level}") });
        let mut definitions: serde_json::Map<String, Value> = (0..levels)
            .map(|level| {
                let twice = json!({ (keyword): [next(level + 1), next(level + 1)] });
                (format!("a{level}"), twice)
            })
            .collect();
        definitions.insert(format!("a{levels}"), json!({ "type": "object" }));
        json!({ "$ref": "#/$defs/a0", "$defs": definitions })
    }

    #[test]
    fn what_multiplies_is_counted_and_compiles_all_the_same() {
        for keyword in ["allOf", "anyOf", "oneOf"] {
            for (levels, cheap) in [(5, true), (40, false)] {
                let schema = doubling(levels, keyword);
                assert_eq!(tangle(&schema), None);
                compile_input_schema(&schema).expect("it can be compiled");
                assert_eq!(
                    is_cheap_to_check(&schema, &schema, &json!({})),
                    cheap,
                    "{keyword}"
                );
            }
            for (levels, fine) in [(5, true), (40, false)] {
                let mut unevaluated = doubling(levels, keyword);
                unevaluated["unevaluatedProperties"] = json!(false);
                assert_eq!(tangle(&unevaluated).is_none(), fine, "{keyword}");
            }
        }
    }

    #[test]
    fn a_tree_may_be_deep_and_one_that_doubles_may_not() {
        let once = json!({ "properties": { "next": { "$ref": "#" }, "n": { "type": "integer" } } });
        let twice = json!({
            "allOf": [{ "properties": { "next": { "$ref": "#" } } },
                      { "properties": { "next": { "$ref": "#" } } }],
        });
        let mut list = json!({ "n": 1 });
        for _ in 0..40 {
            list = json!({ "next": list, "n": 1 });
        }
        assert!(is_cheap_to_check(&once, &once, &list));
        assert!(!is_cheap_to_check(&twice, &twice, &list));
        let validator = compile_input_schema(&once).expect("valid");
        assert!(validator.is_valid(&list));
        for _ in 0..40 {
            list = json!({ "next": list });
        }
        assert!(
            !is_cheap_to_check(&once, &once, &list),
            "deeper than is checked"
        );
    }

    #[test]
    fn large_schemas_and_large_values_multiply_too() {
        let asks: Vec<Value> = (0..1000)
            .map(|_| json!({ "items": { "type": "integer" } }))
            .collect();
        let schema = json!({ "properties": { "list": { "allOf": asks } } });
        let list = |length: usize| json!({ "list": vec![1; length] });
        assert!(is_cheap_to_check(&schema, &schema, &list(10)));
        assert!(!is_cheap_to_check(&schema, &schema, &list(10_000)));
    }

    #[test]
    fn what_never_ends_is_found() {
        for tangled in [
            json!({ "$ref": "#" }),
            json!({ "not": { "$ref": "#" } }),
            json!({ "$ref": "#/$defs/a",
                    "$defs": { "a": { "anyOf": [{ "type": "null" }, { "$ref": "#/$defs/b" }] },
                               "b": { "if": { "$ref": "#/$defs/a" } } } }),
            // Once seen through a part, it is still found.
            json!({ "allOf": [{ "properties": { "x": { "$ref": "#/$defs/c" } } }, { "$ref": "#/$defs/c" }],
                    "$defs": { "c": { "$ref": "#" } } }),
        ] {
            assert!(tangle(&tangled).is_some(), "{tangled}");
        }
        for fine in [
            json!({ "properties": { "a": { "$ref": "#" } }, "items": { "$ref": "#" } }),
            json!({ "additionalProperties": { "anyOf": [{ "$ref": "#" }, { "type": "null" }] } }),
        ] {
            assert_eq!(tangle(&fine), None, "{fine}");
            compile_input_schema(&fine).expect("it can be compiled");
        }
    }

    #[test]
    fn a_chain_of_references_is_bounded() {
        let chain = |length: usize, inside: &dyn Fn(Value) -> Value| {
            let definitions: serde_json::Map<String, Value> = (0..length)
                .map(|n| {
                    let next = format!("#/$defs/a{}", (n + 1) % length);
                    (format!("a{n}"), inside(json!({ "$ref": next })))
                })
                .collect();
            json!({ "$ref": "#/$defs/a0", "$defs": definitions })
        };
        let deep = |next: Value| json!({ "properties": { "a": next } });
        assert!(tangle(&chain(1000, &deep)).is_some());
        let allowed = chain(40, &deep);
        assert_eq!(tangle(&allowed), None);
        compile_input_schema(&allowed).expect("it can be compiled");
    }
}
