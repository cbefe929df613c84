//! Why an expression has no value, for whoever reads it in an execution's history at night: which
//! expression, at which character, what of it, and why.

use std::fmt;

use super::failure::{Failure, Missing};
use super::functions::nearest;
use super::limits::MAX_QUOTED;
use super::node::Source;
use super::value::{Kinds, Val, quoted};
use super::{Expression, Scope};

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvalError {
    /// A name, field or element that is not there.
    Unresolved {
        /// The expression as it was written.
        expression: String,
        /// Where it failed.
        place: Place,
        /// The part that is not there.
        missing: String,
    },
    /// A value of a kind that does not fit: a number added to a string.
    Type {
        /// The expression as it was written.
        expression: String,
        /// Where it failed.
        place: Place,
        /// What does not fit what.
        reason: String,
    },
    /// A value that does not fit, though its kind does: a division by zero, a string that is no
    /// timestamp.
    Invalid {
        /// The expression as it was written.
        expression: String,
        /// Where it failed.
        place: Place,
        /// What is wrong with it.
        reason: String,
    },
    /// A bound of what expressions may cost was reached.
    Cost {
        /// The expression as it was written.
        expression: String,
        /// Where it failed.
        place: Place,
        /// Which bound.
        reason: String,
    },
}

/// Where in its string an expression failed. Offsets count characters from the string's beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where the expression's `${` stands.
    pub opens: usize,
    /// Where the part begins that failed.
    pub fails: usize,
    /// That part as it was written.
    pub part: String,
}

impl EvalError {
    /// A stable code. Kinds and values that do not fit share one: to whoever reads it, both say that
    /// the expression and its data do not go together.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unresolved { .. } => "expression.unresolved",
            Self::Type { .. } | Self::Invalid { .. } => "expression.invalid",
            Self::Cost { .. } => "expression.cost",
        }
    }

    /// Where it failed.
    pub fn place(&self) -> &Place {
        match self {
            Self::Unresolved { place, .. }
            | Self::Type { place, .. }
            | Self::Invalid { place, .. }
            | Self::Cost { place, .. } => place,
        }
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (expression, verdict, reason) = match self {
            Self::Unresolved {
                expression,
                missing,
                ..
            } => (expression, "resolved: there is no", missing),
            Self::Type {
                expression, reason, ..
            }
            | Self::Invalid {
                expression, reason, ..
            } => (expression, "evaluated:", reason),
            Self::Cost {
                expression, reason, ..
            } => (expression, "evaluated within its bounds:", reason),
        };
        let short = quoted_expression(expression);
        write!(f, "`${{{short}}}` cannot be {verdict} {reason}")?;
        let place = self.place();
        if place.part == *expression {
            // A string that is the expression alone has but one place.
            if place.opens > 0 {
                write!(f, " (at character {})", place.fails + 1)?;
            }
            return Ok(());
        }
        let part = quoted_expression(&place.part);
        write!(f, " (at character {}, in `{part}`)", place.fails + 1)
    }
}

impl std::error::Error for EvalError {}

/// Expressions can be long, and are broken into lines then.
fn quoted_expression(text: &str) -> String {
    const MAX_CHARS: usize = 3 * MAX_QUOTED;
    let mut short: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_CHARS)
        .collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        short.push('…');
    }
    short
}

/// Puts a failure into words.
pub(super) fn report(
    expression: &Expression,
    place: Place,
    failure: Failure<'_>,
    sources: &[Source],
    scope: &dyn Scope,
) -> EvalError {
    let expression = expression.source().to_owned();
    match failure {
        Failure::Missing(missing) => EvalError::Unresolved {
            expression,
            place,
            missing: describe(&missing, sources, scope),
        },
        Failure::Type(reason) => EvalError::Type {
            expression,
            place,
            reason,
        },
        Failure::Invalid(reason) => EvalError::Invalid {
            expression,
            place,
            reason,
        },
        Failure::Cost(reason) => EvalError::Cost {
            expression,
            place,
            reason,
        },
    }
}

fn describe(missing: &Missing<'_>, sources: &[Source], scope: &dyn Scope) -> String {
    match missing {
        Missing::Local(name) => format!("`{name}`"),
        Missing::Source { source } => {
            let root = scope.root(&source.root);
            match (root, &source.field) {
                (Some(root), Some(field)) => {
                    let key = Val::text(field.as_ref());
                    part(&key, &Val::of(&root), &source.root)
                }
                _ => format!("`{}`", source.root),
            }
        }
        Missing::Part {
            node,
            step,
            key,
            within,
        } => part(key, within, &node.path_text(sources, *step)),
    }
}

/// What is not there and, as far as it can be told, what was meant.
pub(super) fn part(key: &Val<'_>, within: &Val<'_>, path: &str) -> String {
    /// Objects with more fields are searched in part: this is for a message.
    const MAX_FIELDS: usize = 500;
    match (key, within) {
        (_, Val::List(items)) if key.kind() == Kinds::NUMBER => {
            let (index, length) = (name_of(key), items.len());
            format!("element {index} in `{path}`, which has {length}")
        }
        (Val::Text(name), Val::Object(object)) => {
            let keys = object.keys();
            let known = keys.iter().take(MAX_FIELDS).copied();
            let meant = match nearest(name, known) {
                Some(meant) => format!("; did you mean `{}`?", quoted(meant)),
                None => String::new(),
            };
            format!("`{}` in `{path}`{meant}", quoted(name))
        }
        (_, Val::Object(_)) => format!("`{}` in `{path}`", name_of(key)),
        // GitHub writes null for what is not there, so it is worth telling.
        _ => format!("`{}` in `{path}`, which is {}", name_of(key), within.kind()),
    }
}

fn name_of(key: &Val<'_>) -> String {
    match key {
        Val::Text(name) => quoted(name),
        Val::Int(number) => number.to_string(),
        Val::Float(number) => number.to_string(),
        Val::Bool(value) => value.to_string(),
        other => other.kind().to_string(),
    }
}
