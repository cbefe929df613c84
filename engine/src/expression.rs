//! `${…}` in definitions: found once when a definition is compiled, evaluated against an
//! execution's own data, never pasted into source text.
//!
//! Inside the braces stands CEL. A string that is exactly one `${…}` keeps the type of its value; in
//! a longer string each value becomes text, objects and lists as JSON. What an expression yields is
//! data: a `${` inside it is two characters and no expression. (Who needs these two characters
//! writes `${'${'}`.)
//!
//! Nothing here has a clock or chance, so a replay gives the same values.
//!
//! **Invariant:** no text makes compiling or evaluating panic, and what either costs is bounded,
//! whatever the data holds.
//!
//! The language is CEL's, with one kind of numbers. What it has, and where it differs from CEL, is in
//! `docs/definitions/expressions.md`; tests compare it with the crate `cel`.
//!
//! # Errors
//!
//! What can be known without data is a [`Mistake`] when the definition is compiled: what cannot be
//! read, functions that there are not, numbers of arguments, kinds that can never fit, and whatever
//! fails though it reads no data. The rest is an [`EvalError`]:
//!
//! | code | when |
//! |---|---|
//! | `expression.unresolved` | a name, field or element is not there |
//! | `expression.invalid` | a value or its kind does not fit: a division by zero, a string that is no timestamp |
//! | `expression.cost` | a bound was reached |
//!
//! # Bounds
//!
//! | bound | |
//! |---|---|
//! | [`MAX_EXPRESSION_BYTES`] | length of an expression |
//! | [`MAX_NESTING`] | brackets, calls and loops in each other |
//! | [`MAX_COST`] | what all expressions of one template, or one condition, may take together |
//! | [`MAX_TEXT_BYTES`] | length of a string that is built or decoded |
//! | [`MAX_LIST_LENGTH`] | length of a list that is built |
//! | [`MAX_VALUE_DEPTH`] | lists and objects in each other, in what is yielded or decoded |
//! | [`MAX_PATTERN_BYTES`] | length of a regular expression; compiled, it has at most 64 KiB |
#![doc = include_str!("expression/functions.md")]

mod budget;
mod error;
mod eval;
mod failure;
mod functions;
mod lexer;
mod limits;
mod lower;
mod node;
mod operators;
mod parser;
mod path;
mod program;
mod template;
#[cfg(test)]
mod tests;
mod time;
mod value;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use budget::Budget;
use parser::Span;
use path::Lost;
use program::Program;
use value::{Kinds, Val};

pub use error::{EvalError, Place};
pub use functions::{EXAMPLE_DATA, FUNCTIONS, FunctionDoc, reference};
pub use limits::{
    MAX_COST, MAX_EXPRESSION_BYTES, MAX_LIST_LENGTH, MAX_NESTING, MAX_PATTERN_BYTES,
    MAX_TEXT_BYTES, MAX_VALUE_DEPTH,
};
pub use path::{Path, Segment};
pub use template::{Condition, Mistake, Part, Template, compile_condition};

/// Where expressions find their data.
pub trait Scope {
    /// The value of a root name (`input`, `repo`, `steps`, `execution`, an assigned name), or
    /// `None` if it has none now.
    fn root(&self, name: &str) -> Option<Cow<'_, Value>>;

    /// The field `field` of the root `root`, or `None` if either is not there. Expressions ask in
    /// this way wherever they can, so a scope that has to build a root may build less of it; what it
    /// yields must be what the root has.
    fn field(&self, root: &str, field: &str) -> Option<Cow<'_, Value>> {
        match self.root(root)? {
            Cow::Borrowed(value) => value.get(field).map(Cow::Borrowed),
            Cow::Owned(Value::Object(mut fields)) => fields.swap_remove(field).map(Cow::Owned),
            Cow::Owned(_) => None,
        }
    }

    /// The field `part` of the field `field` of the root `root`, where the scope can lend it without
    /// building what is around it; `None` says nothing about whether it is there.
    fn lend(&self, root: &str, field: &str, part: &str) -> Option<&Value> {
        let _ = (root, field, part);
        None
    }
}

/// Roots of which a scope may lend parts of parts: what is around them is built when it is asked for.
const LENDING_ROOTS: [&str; 1] = ["steps"];

/// One compiled expression.
#[derive(Clone)]
pub struct Expression {
    source: String,
    /// Where `${` stands in the string around it, and where `source` begins, in characters.
    opens: usize,
    begins: usize,
    code: Code,
}

#[derive(Clone)]
enum Code {
    /// A plain path: looked up directly.
    Path(Path),
    Program(Arc<Program>),
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({})", self.source)
    }
}

impl Expression {
    /// Compiles the text between the braces.
    ///
    /// # Errors
    /// What is wrong with it, and at which character: what cannot be read, functions that there are
    /// not, wrong numbers of arguments, and kinds that can never fit.
    pub fn compile(source: &str) -> Result<Self, Mistake> {
        let at_start = |message: String| Mistake { offset: 0, message };
        if source.len() > MAX_EXPRESSION_BYTES {
            let message = format!("the expression is longer than {MAX_EXPRESSION_BYTES} bytes");
            return Err(at_start(message));
        }
        let trimmed = source.trim();
        if trimmed.is_empty() {
            return Err(at_start("the expression is empty".to_owned()));
        }
        let before = source.len() - source.trim_start().len();
        let begins = source[..before].chars().count();
        let code = match Path::parse(trimmed) {
            Some(path) => Code::Path(path),
            None => Code::Program(Arc::new(Program::compile(trimmed).map_err(|flaw| {
                let inside = trimmed.get(..flaw.at).unwrap_or(trimmed);
                Mistake {
                    offset: begins + inside.chars().count(),
                    message: format!("not a valid expression: {}", flaw.message),
                }
            })?)),
        };
        Ok(Self {
            source: trimmed.to_owned(),
            opens: 0,
            begins,
            code,
        })
    }

    /// The same expression, told where its `${` stands in a text.
    fn at(self, opens: usize) -> Self {
        Self {
            opens,
            begins: self.begins + opens + "${".len(),
            ..self
        }
    }

    /// The same expression in a text that begins so many characters earlier.
    fn behind(self, characters: usize) -> Self {
        Self {
            opens: self.opens + characters,
            begins: self.begins + characters,
            ..self
        }
    }

    /// The root names the expression reads, sorted, each once.
    pub fn roots(&self) -> Vec<&str> {
        let mut roots: Vec<&str> = match &self.code {
            Code::Path(path) => vec![path.root()],
            Code::Program(program) => program.sources.iter().map(|s| s.root.as_ref()).collect(),
        };
        roots.sort_unstable();
        roots.dedup();
        roots
    }

    /// Every path that begins at a root name, as far as it is written out (of `a.b[i].c` it is
    /// `a.b`), with the character of the string at which it stands.
    pub fn paths(&self) -> Vec<(usize, Path)> {
        match &self.code {
            Code::Path(path) => vec![(self.begins, path.clone())],
            Code::Program(program) => {
                let paths = program.paths().into_iter();
                paths
                    .map(|(span, path)| (self.offset(span), path))
                    .collect()
            }
        }
    }

    /// The path, if the expression is nothing but one.
    pub fn as_path(&self) -> Option<&Path> {
        match &self.code {
            Code::Path(path) => Some(path),
            Code::Program(_) => None,
        }
    }

    /// The expression as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Its value in `scope`.
    ///
    /// # Errors
    /// [`EvalError::Unresolved`] names the first part of a path that is not there; the others say
    /// what does not fit, or which bound was reached.
    pub fn evaluate(&self, scope: &dyn Scope) -> Result<Value, EvalError> {
        self.evaluate_within(scope, &mut Budget::new())
    }

    fn evaluate_within(&self, scope: &dyn Scope, budget: &mut Budget) -> Result<Value, EvalError> {
        match &self.code {
            Code::Path(path) => path.resolve(scope, budget).map_err(|lost| {
                let (expression, place) = (self.source.clone(), self.place(self.whole()));
                match lost {
                    Lost::Missing(missing) => EvalError::Unresolved {
                        expression,
                        place,
                        missing,
                    },
                    Lost::TooLarge(over) => EvalError::Cost {
                        expression,
                        place,
                        reason: over.0,
                    },
                }
            }),
            Code::Program(program) => program.run(self, scope, budget),
        }
    }

    fn whole(&self) -> Span {
        Span::new(0, self.source.len())
    }

    /// Where `span` begins, in characters of the string around.
    fn offset(&self, span: Span) -> usize {
        let before = self.source.get(..span.start).unwrap_or_default();
        self.begins + before.chars().count()
    }

    fn place(&self, span: Span) -> Place {
        Place {
            opens: self.opens,
            fails: self.offset(span),
            part: self
                .source
                .get(span.start..span.end)
                .unwrap_or_default()
                .to_owned(),
        }
    }

    /// What it yields, if that can never be what a place takes.
    pub(crate) fn never(&self, wanted: Wanted) -> Option<String> {
        match &self.code {
            Code::Program(program) if !program.root.kinds.meets(wanted.kinds()) => {
                Some(program.root.kinds.to_string())
            }
            _ => None,
        }
    }

    /// Its value, if it reads no data. That it has none is told when it is compiled.
    pub(crate) fn constant(&self) -> Option<Value> {
        match &self.code {
            Code::Program(program) if program.sources.is_empty() => {
                self.evaluate(&program::Nothing).ok()
            }
            _ => None,
        }
    }

    /// What it yields, if that can never be true or false. Of a path it does not matter: a condition
    /// that is only a path asks for truthiness.
    fn never_boolean(&self) -> Option<Kinds> {
        match &self.code {
            Code::Program(program) if !program.root.kinds.meets(Kinds::BOOL) => {
                Some(program.root.kinds)
            }
            _ => None,
        }
    }

    /// That a condition yields something else.
    fn not_boolean(&self, value: &Value) -> EvalError {
        EvalError::Type {
            expression: self.source.clone(),
            place: self.place(self.whole()),
            reason: format!(
                "a condition must be true or false, and this is {}",
                Val::of(value).describe()
            ),
        }
    }
}

/// What a place of a definition takes of an expression that stands alone in it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted {
    /// Items.
    List,
    /// How long to sleep.
    Length,
    /// Until when to sleep.
    Instant,
    /// Something to compare by, which becomes a text.
    Key,
}

impl Wanted {
    fn kinds(self) -> Kinds {
        let (text, number) = (Kinds::TEXT, Kinds::NUMBER);
        match self {
            Self::List => Kinds::LIST,
            Self::Length => text.or(number).or(Kinds::DURATION),
            Self::Instant => text.or(number).or(Kinds::INSTANT),
            Self::Key => text
                .or(number)
                .or(Kinds::BOOL)
                .or(Kinds::BYTES)
                .or(Kinds::INSTANT)
                .or(Kinds::DURATION),
        }
    }
}

/// Reads a duration as expressions write and read it: `1.5s`, `1h30m`; none that is below zero.
pub(crate) fn read_duration(text: &str) -> Option<Duration> {
    let nanos = time::parse_duration(text)?;
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

/// Whether a value counts as true in a condition that is only a path: not `null`, `false`, `0` or an
/// empty text.
pub fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}
