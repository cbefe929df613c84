//! What the language promises. One file per promise.

mod bounds;
mod catalog;
mod conformance;
mod errors;
mod functions;
mod mistakes;
mod predecessor;
mod properties;
mod values;

use std::borrow::Cow;

use serde_json::{Value, json};

use super::{EvalError, Expression, Mistake, Scope, Template};

/// Roots and their values.
struct Data(Value);

impl Scope for Data {
    fn root(&self, name: &str) -> Option<Cow<'_, Value>> {
        self.0.get(name).map(Cow::Borrowed)
    }
}

fn data() -> Data {
    Data(json!({
        "input": {
            "n": 7, "f": 1.5, "list": [1, 2, 3], "zero": 0, "empty": "", "none": [],
            "items": [{"name": "first", "n": 2}, {"name": "second", "n": 1}],
            "big": u64::MAX, "small": i64::MIN, "whole": 1.0, "flag": true,
        },
        "issue": {
            "number": 42, "title": "${input.n} \"); drop(1", "labels": ["bug"],
            "state": "open", "nothing": null,
        },
    }))
}

/// What an expression yields with [`data`].
fn value(source: &str) -> Result<Value, EvalError> {
    let expression = Expression::compile(source).unwrap_or_else(|m| panic!("{source}: {m:?}"));
    expression.evaluate(&data())
}

/// What it fails with: the code.
fn code(source: &str) -> &'static str {
    match value(source) {
        Ok(value) => panic!("{source} is {value}"),
        Err(error) => error.code(),
    }
}

/// Whether a failure is one of kinds.
fn is_type_error(source: &str) -> bool {
    matches!(value(source), Err(EvalError::Type { .. }))
}

/// Why it does not compile.
fn mistake(source: &str) -> Mistake {
    match Expression::compile(source) {
        Ok(_) => panic!("{source} is valid"),
        Err(mistake) => mistake,
    }
}

fn template(value: &Value) -> Template {
    let mut mistakes = Vec::new();
    let template = Template::compile(value, "", &mut |path, m| {
        mistakes.push((path.to_owned(), m));
    });
    assert_eq!(mistakes, [], "{value}");
    template
}

fn render(value: &Value) -> Result<Value, (String, EvalError)> {
    template(value).render(&data())
}
