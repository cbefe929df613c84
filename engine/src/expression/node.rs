//! A compiled expression: names looked up, functions found, kinds known as far as they can be.

use std::fmt::Write as _;
use std::sync::Arc;

use super::functions::{Function, Pattern};
use super::operators::Operator;
use super::parser::Span;
use super::value::Kinds;

/// One part of an expression.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    /// What it can yield.
    pub(super) kinds: Kinds,
    /// How many nodes stand in each other here, this one included.
    pub(super) depth: usize,
    pub(super) op: Op,
}

#[derive(Debug)]
pub(super) enum Op {
    Constant(Constant),
    /// A value and the way down from it.
    Path {
        base: Base,
        steps: Vec<Step>,
    },
    Has(Box<Node>),
    Default(Vec<Node>),
    Not(Box<Node>),
    Negate(Box<Node>),
    Chain(Box<Node>, Vec<(Operator, Node)>),
    All(Vec<Node>),
    Any(Vec<Node>),
    Conditional(Box<[Node; 3]>),
    List(Vec<Node>),
    Object(Vec<(Node, Node)>),
    Loop(Box<Loop>),
    Call {
        function: &'static Function,
        args: Vec<Node>,
        /// The regular expression among the arguments, if it stands there as it is.
        pattern: Option<Pattern>,
    },
}

#[derive(Debug)]
pub(super) enum Constant {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Box<str>),
    Bytes(Arc<[u8]>),
}

#[derive(Debug)]
pub(super) enum Base {
    /// Position among what the program reads.
    Source(usize),
    /// A loop's variable, counted from the outermost.
    Local(usize, Box<str>),
    Node(Box<Node>),
}

#[derive(Debug)]
pub(super) struct Step {
    /// From the beginning of the path.
    pub(super) span: Span,
    pub(super) kind: StepKind,
}

#[derive(Debug)]
pub(super) enum StepKind {
    Field(Box<str>),
    Index(Node),
}

/// `range.map(variable, …)` and its kin.
#[derive(Debug)]
pub(super) struct Loop {
    pub(super) kind: LoopKind,
    pub(super) range: Node,
    /// Which items are taken; only where `body` is something else.
    pub(super) filter: Option<Node>,
    pub(super) body: Node,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
    SortBy,
}

/// A root name, or one field of it, that an expression reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) root: Box<str>,
    /// With it, only this field is asked for: a root may be costly to build as a whole.
    pub(super) field: Option<Box<str>>,
    /// A field of the field that the scope may lend, and the number of the source without it.
    pub(super) part: Option<(Box<str>, usize)>,
}

impl Node {
    /// Whether it stands for itself.
    pub(super) fn is_constant(&self) -> bool {
        matches!(self.op, Op::Constant(_))
    }

    /// Every node that stands directly in this one.
    pub(super) fn children(&self) -> Vec<&Node> {
        match &self.op {
            Op::Constant(_) => Vec::new(),
            Op::Path { base, steps } => {
                let base = match base {
                    Base::Node(node) => Some(node.as_ref()),
                    Base::Source(_) | Base::Local(..) => None,
                };
                let steps = steps.iter().filter_map(|step| match &step.kind {
                    StepKind::Index(node) => Some(node),
                    StepKind::Field(_) => None,
                });
                base.into_iter().chain(steps).collect()
            }
            Op::Has(node) | Op::Not(node) | Op::Negate(node) => vec![node.as_ref()],
            Op::Default(nodes) | Op::All(nodes) | Op::Any(nodes) | Op::List(nodes) => {
                nodes.iter().collect()
            }
            Op::Chain(first, rest) => std::iter::once(first.as_ref())
                .chain(rest.iter().map(|(_, node)| node))
                .collect(),
            Op::Conditional(parts) => parts.iter().collect(),
            Op::Object(entries) => entries
                .iter()
                .flat_map(|(key, value)| [key, value])
                .collect(),
            Op::Loop(inner) => std::iter::once(&inner.range)
                .chain(inner.filter.as_ref())
                .chain(std::iter::once(&inner.body))
                .collect(),
            Op::Call { args, .. } => args.iter().collect(),
        }
    }

    /// The path as it is read by people, up to its step `steps`: for messages.
    pub(super) fn path_text(&self, sources: &[Source], upto: usize) -> String {
        let Op::Path { base, steps } = &self.op else {
            return "this".to_owned();
        };
        let mut text = match base {
            Base::Source(index) => sources
                .get(*index)
                .map_or_else(String::new, |source| source.root.to_string()),
            Base::Local(_, name) => name.to_string(),
            Base::Node(_) => "(…)".to_owned(),
        };
        for step in &steps[..upto] {
            // Writing to a String cannot fail.
            let _ = match &step.kind {
                StepKind::Field(name) => write!(text, ".{name}"),
                StepKind::Index(node) => match &node.op {
                    Op::Constant(Constant::Int(index)) => write!(text, "[{index}]"),
                    Op::Constant(Constant::Text(name)) => write!(text, "[\"{name}\"]"),
                    _ => write!(text, "[…]"),
                },
            };
        }
        text
    }
}
