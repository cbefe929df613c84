//! What is not a plain path, compiled.

use std::borrow::Cow;

use serde_json::Value;

use super::budget::Budget;
use super::error::report;
use super::eval::{Cell, Evaluator};
use super::failure::Failure;
use super::lexer::Flaw;
use super::lower::{Lowering, constant_parts};
use super::node::{Base, Constant, Node, Op, Source, StepKind};
use super::parser::{Span, parse};
use super::path::{Path, Segment};
use super::{EvalError, Expression, Scope};

pub(super) struct Program {
    pub(super) root: Node,
    /// What it reads of the data.
    pub(super) sources: Vec<Source>,
}

impl Program {
    pub(super) fn compile(source: &str) -> Result<Self, Flaw> {
        let tree = parse(source)?;
        let mut lowering = Lowering::default();
        let root = lowering.lower(&tree)?;
        try_constants(&root)?;
        Ok(Self {
            root,
            sources: lowering.sources,
        })
    }

    pub(super) fn run(
        &self,
        expression: &Expression,
        scope: &dyn Scope,
        budget: &mut Budget,
    ) -> Result<Value, EvalError> {
        let cells: Vec<Cell<'_>> = self.sources.iter().map(|_| Cell::new()).collect();
        let failed = |span: Span, failure: Failure<'_>| {
            let place = expression.place(span);
            report(expression, place, failure, &self.sources, scope)
        };
        let mut evaluator = Evaluator {
            scope,
            sources: &self.sources,
            cells: &cells,
            locals: Vec::new(),
            budget,
        };
        let value = evaluator
            .evaluate(&self.root)
            .map_err(|fault| failed(fault.span, fault.failure))?;
        value
            .to_json(evaluator.budget)
            .map_err(|failure| failed(expression.whole(), failure))
    }

    /// Every path that begins at a root name, as far as it is written out.
    pub(super) fn paths(&self) -> Vec<(Span, Path)> {
        let mut paths = Vec::new();
        let mut open = vec![&self.root];
        while let Some(node) = open.pop() {
            if let Op::Path {
                base: Base::Source(index),
                steps,
            } = &node.op
            {
                let written = steps.iter().map_while(|step| match &step.kind {
                    StepKind::Field(name) => Some(Segment::Field(name.to_string())),
                    StepKind::Index(index) => match &index.op {
                        Op::Constant(Constant::Int(index)) => {
                            usize::try_from(*index).ok().map(Segment::Index)
                        }
                        Op::Constant(Constant::Text(name)) => {
                            Some(Segment::Field(name.to_string()))
                        }
                        _ => None,
                    },
                });
                let root = &self.sources[*index].root;
                paths.push((node.span, Path::new(root, written.collect())));
            }
            open.extend(node.children());
        }
        paths.sort_by_key(|(span, _)| span.start);
        paths
    }
}

/// Evaluates the parts that need no data: what fails there fails always, and is better told now.
fn try_constants(root: &Node) -> Result<(), Flaw> {
    let mut budget = Budget::new();
    for part in constant_parts(root) {
        let mut evaluator = Evaluator {
            scope: &Nothing,
            sources: &[],
            cells: &[],
            locals: Vec::new(),
            budget: &mut budget,
        };
        let Err(fault) = evaluator.evaluate(part) else {
            continue;
        };
        match fault.failure {
            Failure::Type(message) | Failure::Invalid(message) => {
                return Err(Flaw {
                    at: fault.span.start,
                    message,
                });
            }
            // Together they may cost more than is tried here; each alone is left to evaluation.
            Failure::Cost(_) => return Ok(()),
            Failure::Missing(_) => {}
        }
    }
    Ok(())
}

/// A scope without data.
pub(super) struct Nothing;

impl Scope for Nothing {
    fn root(&self, _: &str) -> Option<Cow<'_, Value>> {
        None
    }
}
