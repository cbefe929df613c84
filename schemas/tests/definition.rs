//! The JSON Schema of the definition language, as a file for editors.
//!
//! `AFU9_GOLDEN=write cargo test -p afu9-schemas --test definition` writes it anew. It may change at
//! any time: it describes what the reader of the same version accepts.

use std::path::PathBuf;

use afu9_schemas::definition::{ReadOptions, json_schema, read};

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_file_is_what_the_code_says() {
    let file = here().join("definition.schema.json");
    let text = format!("{:#}\n", json_schema());
    if option_env!("AFU9_GOLDEN") == Some("write") {
        std::fs::write(&file, &text).expect("schema written");
    }
    let pinned = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        pinned == text,
        "{} is not what the code says; write it anew with \
         `AFU9_GOLDEN=write cargo test -p afu9-schemas --test definition`",
        file.display()
    );
}

#[test]
fn it_is_a_valid_schema_that_needs_nothing_from_elsewhere() {
    let schema = json_schema();
    jsonschema::draft202012::meta::validate(&schema).expect("valid");
    jsonschema::draft202012::options()
        .offline()
        .build(&schema)
        .expect("complete");
}

#[test]
fn the_workflows_that_come_with_it_are_right() {
    let validator = jsonschema::draft202012::options()
        .offline()
        .build(&json_schema())
        .expect("complete");
    let mut seen = 0;
    for entry in std::fs::read_dir(here().join("workflows")).expect("workflows") {
        let path = entry.expect("a file").path();
        let source = std::fs::read_to_string(&path).expect("a text");
        let read = read(&source, ReadOptions::default())
            .unwrap_or_else(|mistakes| panic!("{}: {mistakes:#?}", path.display()));
        let mistakes: Vec<String> = validator
            .iter_errors(&read.value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(mistakes.is_empty(), "{}: {mistakes:#?}", path.display());
        seen += 1;
    }
    assert!(seen >= 2, "no workflow was looked at");
}
