//! Tests of the reader. Every definition it accepts here must also be accepted by the JSON Schema, and
//! what it refuses must be refused there too, unless no schema can say it.

mod action;
mod document;
mod flow;
mod input_schema;
mod needs;
mod policy;
mod property;
mod seed;
mod step;
mod trigger;

use std::sync::LazyLock;

use serde_json::Value;

use super::super::document as text;
use super::super::{Action, Definition, Diagnostic, Position, ReadOptions, Step, json_schema};
use super::read;

/// Stands in a wrong definition before each place at which a mistake is expected.
const HERE: char = '«';

static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    jsonschema::draft202012::options()
        .offline()
        .build(&json_schema())
        .expect("a valid schema")
});

fn schema_mistakes(value: &Value) -> Vec<String> {
    SCHEMA
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// A definition that is right.
#[track_caller]
fn right(source: &str) -> Definition {
    let read = read(source, ReadOptions::default())
        .unwrap_or_else(|mistakes| panic!("refused: {mistakes:#?}\n{source}"));
    let mistakes = schema_mistakes(&read.value);
    assert!(mistakes.is_empty(), "{mistakes:#?}\n{source}");
    read.definition
}

/// A definition with a mistake wherever [`HERE`] stands, and nowhere else.
#[track_caller]
fn wrong(marked: &str) -> Vec<Diagnostic> {
    let mistakes = wrong_to_the_reader(marked);
    let source = marked.replace(HERE, "");
    if let Ok(document) = text::parse(&source) {
        let accepted = schema_mistakes(&document.value).is_empty();
        assert!(!accepted, "the schema accepts it:\n{source}");
    }
    mistakes
}

/// Like [`wrong`], for what no schema can say.
#[track_caller]
fn wrong_to_the_reader(marked: &str) -> Vec<Diagnostic> {
    let mut source = String::new();
    let mut expected = Vec::new();
    let mut place = Position::START;
    for c in marked.chars() {
        match c {
            HERE => {
                expected.push(place);
                continue;
            }
            '\n' => {
                place.line += 1;
                place.column = 1;
            }
            _ => place.column += 1,
        }
        source.push(c);
    }
    let Err(mistakes) = read(&source, ReadOptions::default()) else {
        panic!("accepted:\n{source}");
    };
    let found: Vec<Position> = mistakes.iter().map(|mistake| mistake.position).collect();
    assert_eq!(found, expected, "{mistakes:#?}\n{source}");
    mistakes
}

/// A definition whose only step has these keys beside its name.
fn with_step(keys: &str) -> String {
    format!("name: w\nsteps:\n  - {{name: a, {keys}}}\n")
}

/// A definition with one step without effect and these keys at its top.
fn with_top(keys: &str) -> String {
    format!("name: w\nsteps: [{{name: a, tool: test.noop}}]\n{keys}\n")
}

#[track_caller]
fn right_step(keys: &str) -> Step {
    right(&with_step(keys)).steps.remove(0)
}

#[track_caller]
fn right_action(keys: &str) -> Action {
    right_step(keys).action
}

#[track_caller]
fn wrong_step(keys: &str) -> Vec<Diagnostic> {
    wrong(&with_step(keys))
}

#[track_caller]
fn right_top(keys: &str) -> Definition {
    right(&with_top(keys))
}

#[track_caller]
fn wrong_top(keys: &str) -> Vec<Diagnostic> {
    wrong(&with_top(keys))
}

/// The only mistake mentions `word`.
#[track_caller]
fn says(mistakes: &[Diagnostic], word: &str) {
    let [mistake] = mistakes else {
        panic!("not one mistake: {mistakes:#?}");
    };
    assert!(mistake.message.contains(word), "{mistake}");
}
