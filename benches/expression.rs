//! What `${…}` costs: compiled once for each definition, evaluated for each step.

use std::borrow::Cow;

use afu9_engine::expression::{Expression, Scope, Template, compile_condition};
use divan::{Bencher, black_box};
use serde_json::{Value, json};

fn main() {
    divan::main();
}

/// From what nearly every step has to what few have.
const SOURCES: [&str; 4] = [
    "issue.number",
    "issue.state == 'open' && size(issue.labels) > 0",
    "issue.title + ' (#' + string(issue.number) + ')'",
    "input.items.filter(i, i.n > 10).map(i, i.name)",
];

struct Data(Value);

impl Scope for Data {
    fn root(&self, name: &str) -> Option<Cow<'_, Value>> {
        self.0.get(name).map(Cow::Borrowed)
    }
}

fn data() -> Data {
    let items: Vec<Value> = (0..20)
        .map(|n| json!({ "n": n, "name": format!("item {n}") }))
        .collect();
    Data(json!({
        "input": { "items": items },
        "issue": {
            "number": 42, "title": "The build is slow", "state": "open",
            "labels": ["performance", "help wanted"], "body": "It takes long.",
        },
    }))
}

/// The parameters of a step.
fn parameters() -> Value {
    json!({
        "owner": "octo", "repo": "factory", "number": "${issue.number}",
        "title": "Fix: ${issue.title} (#${issue.number})",
        "labels": "${issue.labels}",
        "options": { "draft": false, "body": "Closes #${issue.number}\n\n${issue.body}" },
    })
}

fn template(value: &Value) -> Template {
    Template::compile(value, "", &mut |path, mistake| {
        panic!("{path}: {mistake:?}");
    })
}

#[divan::bench(args = SOURCES)]
fn compile(source: &str) -> Expression {
    Expression::compile(source).expect("compiles")
}

#[divan::bench(args = SOURCES)]
fn evaluate(bencher: Bencher, source: &str) {
    let (expression, data) = (Expression::compile(source).expect("compiles"), data());
    bencher.bench(|| black_box(&expression).evaluate(&data).expect("has a value"));
}

#[divan::bench]
fn condition(bencher: Bencher) {
    let text = "${issue.state == 'open' && size(issue.labels) > 0}";
    let (condition, data) = (compile_condition(text).expect("compiles"), data());
    bencher.bench(|| black_box(&condition).holds(&data).expect("has a value"));
}

#[divan::bench]
fn compile_parameters(bencher: Bencher) {
    let parameters = parameters();
    bencher.bench(|| template(black_box(&parameters)));
}

#[divan::bench]
fn render_parameters(bencher: Bencher) {
    let (template, data) = (template(&parameters()), data());
    bencher.bench(|| black_box(&template).render(&data).expect("renders"));
}
