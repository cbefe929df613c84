//! Why a part of an expression has no value. Put into words only when nobody absorbed it: inside
//! `has`, `default`, `&&` and `||` most failures are never shown.

use super::budget::OverBudget;
use super::node::{Node, Source};
use super::parser::Span;
use super::value::{Kinds, Val};

/// A failure and the part that failed.
#[derive(Debug)]
pub(super) struct Fault<'a> {
    pub(super) span: Span,
    pub(super) failure: Failure<'a>,
}

#[derive(Debug)]
pub(super) enum Failure<'a> {
    /// A name, field or element that is not there.
    Missing(Missing<'a>),
    /// A value of a kind that does not fit.
    Type(String),
    /// A value that does not fit, though its kind does.
    Invalid(String),
    /// A bound was reached.
    Cost(String),
}

#[derive(Debug)]
pub(super) enum Missing<'a> {
    /// A root name, or the field that is asked of it.
    Source {
        source: &'a Source,
    },
    Local(&'a str),
    /// What step `step` of the path `node` asks for, in what stands there.
    Part {
        node: &'a Node,
        step: usize,
        key: Val<'a>,
        within: Val<'a>,
    },
}

impl<'a> Failure<'a> {
    pub(super) fn at(self, span: Span) -> Box<Fault<'a>> {
        Box::new(Fault {
            span,
            failure: self,
        })
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    pub(super) fn beyond_64_bits() -> Self {
        Self::invalid("the number is beyond 64 bits")
    }

    pub(super) fn not_finite() -> Self {
        Self::invalid("the result is not a finite number")
    }

    /// Something that takes `wanted` was given `found`.
    pub(super) fn kind(what: &str, wanted: Kinds, found: &Val<'_>) -> Self {
        Self::Type(format!("{what} takes {wanted}, not {}", found.describe()))
    }
}

impl From<OverBudget> for Failure<'_> {
    fn from(OverBudget(reason): OverBudget) -> Self {
        Self::Cost(reason)
    }
}

impl Fault<'_> {
    /// Whether something else may stand in for what failed. A bound that was reached is never
    /// absorbed: the rest of the expression has nothing left to spend either.
    pub(super) fn is_cost(&self) -> bool {
        matches!(self.failure, Failure::Cost(_))
    }

    pub(super) fn is_missing(&self) -> bool {
        matches!(self.failure, Failure::Missing(_))
    }
}
