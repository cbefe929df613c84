//! Every example of the table of functions, run.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Data;
use crate::expression::functions::names;
use crate::expression::{EXAMPLE_DATA, Expression, FUNCTIONS, reference};

#[test]
fn every_example_yields_its_result() {
    let data = Data(serde_json::from_str(EXAMPLE_DATA).expect("the examples' data is JSON"));
    for function in FUNCTIONS {
        let example = function.example;
        let expected: Value = serde_json::from_str(function.result)
            .unwrap_or_else(|e| panic!("{example}: its result is not JSON: {e}"));
        let expression =
            Expression::compile(example).unwrap_or_else(|m| panic!("{example}: {m:?}"));
        let value = expression.evaluate(&data).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(value.to_string(), expected.to_string(), "{example}");
        let name = function.name;
        assert!(
            example.contains(&format!("{name}(")),
            "{example} shows {name}"
        );
        let signature = function.signature;
        assert!(signature.contains(&format!("{name}(")), "{signature}");
    }
}

#[test]
fn every_function_is_described_once() {
    let described: Vec<&str> = FUNCTIONS.iter().map(|function| function.name).collect();
    let unique: BTreeSet<&str> = described.iter().copied().collect();
    assert_eq!(unique.len(), described.len(), "{described:?}");
    assert_eq!(
        unique,
        names().collect(),
        "what is described is what there is"
    );
    assert_eq!(names().count(), unique.len(), "no name is taken twice");
}

/// The table in this module's documentation. After a change of [`FUNCTIONS`]
/// `AFU9_GOLDEN=write cargo test -p afu9-engine the_table_is` writes it anew.
#[test]
fn the_table_is_the_one_of_the_functions() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/expression/functions.md");
    if option_env!("AFU9_GOLDEN") == Some("write") {
        std::fs::write(path, reference()).expect("the sources can be written");
    }
    let written = std::fs::read_to_string(path).expect("the table is there");
    assert_eq!(written, reference());
}
