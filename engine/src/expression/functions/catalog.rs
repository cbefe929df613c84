//! What the functions are, for people: the language reference is made of this, and every example is
//! tested. One table per subject.

mod conversions;
mod encodings;
mod lists;
mod numbers;
mod paths;
mod strings;
mod times;

use std::fmt::Write as _;

/// What there is to know about one function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionDoc {
    /// The subject it belongs to; functions of one subject stand together.
    pub group: &'static str,
    /// Its name, with its namespace if it has one.
    pub name: &'static str,
    /// Arguments and result; what stands in brackets may be left out.
    pub signature: &'static str,
    /// What it yields, in a sentence or two.
    pub description: &'static str,
    /// An expression that uses it. It may read [`EXAMPLE_DATA`].
    pub example: &'static str,
    /// What the example yields, as JSON.
    pub result: &'static str,
}

const fn doc(
    group: &'static str,
    [name, signature]: [&'static str; 2],
    description: &'static str,
    [example, result]: [&'static str; 2],
) -> FunctionDoc {
    FunctionDoc {
        group,
        name,
        signature,
        description,
        example,
        result,
    }
}

/// What the examples read: root names and their values, as JSON.
pub const EXAMPLE_DATA: &str = r#"{
  "input": {"n": 7},
  "issue": {
    "number": 42,
    "title": "Fix: login fails",
    "milestone": null,
    "labels": [{"name": "bug"}, {"name": "urgent"}]
  }
}"#;

/// Every function, by subject.
pub const FUNCTIONS: &[FunctionDoc] = &ALL;

const GROUPS: [&[FunctionDoc]; 7] = [
    paths::FUNCTIONS,
    strings::FUNCTIONS,
    lists::FUNCTIONS,
    numbers::FUNCTIONS,
    conversions::FUNCTIONS,
    encodings::FUNCTIONS,
    times::FUNCTIONS,
];

const COUNT: usize = {
    let mut count = 0;
    let mut group = 0;
    while group < GROUPS.len() {
        count += GROUPS[group].len();
        group += 1;
    }
    count
};

/// The tables behind each other; constants know no iterators.
const ALL: [FunctionDoc; COUNT] = {
    let mut all = [GROUPS[0][0]; COUNT];
    let mut next = 0;
    let mut group = 0;
    while group < GROUPS.len() {
        let mut row = 0;
        while row < GROUPS[group].len() {
            all[next] = GROUPS[group][row];
            next += 1;
            row += 1;
        }
        group += 1;
    }
    all
};

/// The functions as Markdown: a heading and a table per subject.
pub fn reference() -> String {
    let mut text = String::from("\n# Functions\n\nThe examples read this data:\n\n```json\n");
    text.push_str(EXAMPLE_DATA);
    text.push_str("\n```\n");
    let mut group = "";
    for function in FUNCTIONS {
        if function.group != group {
            group = function.group;
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "\n## {group}\n\n\
                 | function | what it yields | example | result |\n\
                 |---|---|---|---|\n"
            );
        }
        let cell = |code: &str| format!("`{}`", code.replace('|', "\\|"));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            cell(function.signature),
            function.description.replace('|', "\\|"),
            cell(function.example),
            cell(function.result)
        );
    }
    text
}
