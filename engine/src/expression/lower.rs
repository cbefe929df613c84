//! From a tree to nodes: names are looked up, functions found, arguments counted, and kinds checked
//! as far as they are known before there is data.

mod members;

use std::sync::Arc;

use super::LENDING_ROOTS;
use super::functions::{self, Function};
use super::lexer::Flaw;
use super::limits::MAX_NESTING;
use super::node::{Base, Constant, Node, Op, Source, Step, StepKind};
use super::operators::{KEYS, Operator};
use super::parser::{Form, Span, Syntax};
use super::path::is_variable;
use super::value::Kinds;

type Lowered<T = Node> = Result<T, Flaw>;

/// What is collected on the way.
#[derive(Default)]
pub(super) struct Lowering {
    pub(super) sources: Vec<Source>,
    /// The variables of the loops around, outermost first.
    locals: Vec<String>,
}

fn mistake(span: Span, message: impl Into<String>) -> Flaw {
    Flaw {
        at: span.start,
        message: message.into(),
    }
}

/// A node of what it is made of; the place where nesting is bounded, because long chains of calls
/// stand deep in each other without being nested in the text.
fn node(span: Span, kinds: Kinds, op: Op) -> Lowered {
    let mut node = Node {
        span,
        kinds,
        depth: 1,
        op,
    };
    node.depth += node
        .children()
        .iter()
        .map(|child| child.depth)
        .max()
        .unwrap_or(0);
    if node.depth > MAX_NESTING {
        return Err(mistake(
            span,
            format!("more than {MAX_NESTING} calls stand in each other"),
        ));
    }
    Ok(node)
}

fn require(what: &str, wanted: Kinds, operand: &Node) -> Lowered<()> {
    if operand.kinds.meets(wanted) {
        return Ok(());
    }
    Err(mistake(
        operand.span,
        format!(
            "{what} takes {wanted}, and this is always {}",
            operand.kinds
        ),
    ))
}

impl Lowering {
    pub(super) fn lower(&mut self, syntax: &Syntax) -> Lowered {
        let span = syntax.span;
        let constant = |kinds, constant| node(span, kinds, Op::Constant(constant));
        match &syntax.form {
            Form::Null => constant(Kinds::NULL, Constant::Null),
            Form::Bool(value) => constant(Kinds::BOOL, Constant::Bool(*value)),
            Form::Int(number) => constant(Kinds::NUMBER, Constant::Int(*number)),
            Form::Float(number) => constant(Kinds::NUMBER, Constant::Float(*number)),
            Form::Text(text) => constant(Kinds::TEXT, Constant::Text(text.as_str().into())),
            Form::Bytes(bytes) => {
                constant(Kinds::BYTES, Constant::Bytes(Arc::from(bytes.as_slice())))
            }
            Form::Name(name) => self.path(span, name, Vec::new()),
            Form::Call(name, args) => self.global(span, name, args),
            Form::Member(first, suffixes) => self.member(first, suffixes),
            Form::Not(operand) => {
                let operand = self.lower(operand)?;
                require("`!`", Kinds::BOOL, &operand)?;
                node(span, Kinds::BOOL, Op::Not(Box::new(operand)))
            }
            Form::Negate(operand) => self.negate(span, operand),
            Form::Chain(first, rest) => self.chain(span, first, rest),
            Form::All(operands) => {
                let operands = self.booleans("`&&`", operands)?;
                node(span, Kinds::BOOL, Op::All(operands))
            }
            Form::Any(operands) => {
                let operands = self.booleans("`||`", operands)?;
                node(span, Kinds::BOOL, Op::Any(operands))
            }
            Form::Conditional(parts) => {
                let [condition, yes, no] = parts.as_ref();
                let condition = self.lower(condition)?;
                require("a conditional", Kinds::BOOL, &condition)?;
                let (yes, no) = (self.lower(yes)?, self.lower(no)?);
                let kinds = yes.kinds.or(no.kinds);
                let parts = Box::new([condition, yes, no]);
                node(span, kinds, Op::Conditional(parts))
            }
            Form::List(items) => {
                let items = self.all(items)?;
                node(span, Kinds::LIST, Op::List(items))
            }
            Form::Object(entries) => {
                let mut lowered = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    let key = self.lower(key)?;
                    require("a key", KEYS, &key)?;
                    lowered.push((key, self.lower(value)?));
                }
                node(span, Kinds::OBJECT, Op::Object(lowered))
            }
        }
    }

    fn all(&mut self, parts: &[Syntax]) -> Lowered<Vec<Node>> {
        parts.iter().map(|part| self.lower(part)).collect()
    }

    fn booleans(&mut self, what: &str, operands: &[Syntax]) -> Lowered<Vec<Node>> {
        let operands = self.all(operands)?;
        for operand in &operands {
            require(what, Kinds::BOOL, operand)?;
        }
        Ok(operands)
    }

    fn negate(&mut self, span: Span, operand: &Syntax) -> Lowered {
        let operand = self.lower(operand)?;
        let numbers = Kinds::NUMBER.or(Kinds::DURATION);
        require("`-`", numbers, &operand)?;
        // A negative number stands for itself, too.
        let negative = match operand.op {
            Op::Constant(Constant::Int(number)) => Some(Constant::Int(-number)),
            Op::Constant(Constant::Float(number)) => Some(Constant::Float(-number)),
            _ => None,
        };
        match negative {
            Some(negative) => node(span, Kinds::NUMBER, Op::Constant(negative)),
            None => {
                let kinds = operand.kinds.and(numbers);
                node(span, kinds, Op::Negate(Box::new(operand)))
            }
        }
    }

    fn chain(&mut self, span: Span, first: &Syntax, rest: &[(Operator, Syntax)]) -> Lowered {
        let first = self.lower(first)?;
        let mut kinds = first.kinds;
        let mut operands = Vec::with_capacity(rest.len());
        for (operator, operand) in rest {
            let operand = self.lower(operand)?;
            let Some(result) = operator.result(kinds, operand.kinds) else {
                return Err(mistake(
                    operand.span,
                    format!(
                        "`{}` does not fit {kinds} and {}{}",
                        operator.symbol(),
                        operand.kinds,
                        operator.hint(kinds, operand.kinds)
                    ),
                ));
            };
            kinds = result;
            operands.push((*operator, operand));
        }
        node(span, kinds, Op::Chain(Box::new(first), operands))
    }

    /// A path that begins at the name of a loop's variable or of a root.
    fn path(&mut self, span: Span, name: &str, mut steps: Vec<Step>) -> Lowered {
        let first = steps.first().and_then(|step| field(&step.kind));
        if let Some(variable) = first.filter(|field| is_variable(name, field))
            && !self.locals.iter().any(|local| local == name)
        {
            let variable = variable.to_owned();
            steps.remove(0);
            return self.path(span, &variable, steps);
        }
        let local = self.locals.iter().rposition(|local| local == name);
        if let Some(slot) = local {
            let base = Base::Local(slot, name.into());
            return node(span, Kinds::ANY, Op::Path { base, steps });
        }
        let at = |at: usize| -> Option<Box<str>> {
            let step = steps.get(at)?;
            field(&step.kind).map(Into::into)
        };
        let (first, second) = (at(0), at(1));
        let mut index = self.source(Source {
            root: name.into(),
            field: first.clone(),
            part: None,
        });
        if let (Some(_), Some(part)) = (&first, second)
            && LENDING_ROOTS.contains(&name)
        {
            index = self.source(Source {
                root: name.into(),
                field: first,
                part: Some((part, index)),
            });
        }
        let base = Base::Source(index);
        node(span, Kinds::DATA, Op::Path { base, steps })
    }

    /// The number of a source.
    fn source(&mut self, source: Source) -> usize {
        let known = self.sources.iter().position(|known| *known == source);
        known.unwrap_or_else(|| {
            self.sources.push(source);
            self.sources.len() - 1
        })
    }

    fn global(&mut self, span: Span, name: &str, args: &[Syntax]) -> Lowered {
        match (name, args) {
            ("has", [path]) => {
                let is_path = matches!(path.form, Form::Name(_) | Form::Member(..));
                let inner = self.lower(path)?;
                if !is_path || !matches!(inner.op, Op::Path { .. }) {
                    let message = "`has` takes a path, as `has(issue.milestone)` does";
                    return Err(mistake(inner.span, message));
                }
                node(span, Kinds::BOOL, Op::Has(Box::new(inner)))
            }
            ("has", _) => Err(mistake(span, "`has` takes 1 argument, a path")),
            ("default", _) => {
                let options = self.all(args)?;
                default(span, options)
            }
            ("map" | "filter" | "all" | "exists" | "exists_one" | "existsOne" | "sortBy", _) => {
                Err(mistake(
                    span,
                    format!("`{name}` is called on a list, as `list.{name}(x, …)`"),
                ))
            }
            _ => {
                let function = functions::find(name).ok_or_else(|| unknown(span, name))?;
                let args = self.all(args)?;
                call(span, function, args)
            }
        }
    }
}

/// The name of a field that is written out.
fn field(step: &StepKind) -> Option<&str> {
    match step {
        StepKind::Field(field) => Some(field),
        StepKind::Index(Node {
            op: Op::Constant(Constant::Text(field)),
            ..
        }) => Some(field),
        StepKind::Index(_) => None,
    }
}

fn unknown(span: Span, name: &str) -> Flaw {
    mistake(
        span,
        format!(
            "there is no function `{name}`{}",
            functions::suggestion(name)
        ),
    )
}

fn default(span: Span, options: Vec<Node>) -> Lowered {
    if options.len() < 2 {
        let message = "`default` takes at least 2 arguments: a value and what stands in for it";
        return Err(mistake(span, message));
    }
    let union = options
        .iter()
        .fold(Kinds::NONE, |kinds, option| kinds.or(option.kinds));
    node(span, union, Op::Default(options))
}

fn call(span: Span, function: &'static Function, args: Vec<Node>) -> Lowered {
    let too_many = !function.repeats && args.len() > function.params.len();
    if args.len() < function.required || too_many {
        let message = format!(
            "`{}` takes {}, and here are {}",
            function.name,
            function.arity(),
            args.len()
        );
        return Err(mistake(span, message));
    }
    for (index, arg) in args.iter().enumerate() {
        let Some(wanted) = function.param(index) else {
            continue;
        };
        require(&function.argument(index), wanted, arg)?;
        if let Op::Constant(constant) = &arg.op {
            let checked = function.check_constant(index, constant);
            checked.map_err(|message| mistake(arg.span, message))?;
        }
    }
    let mut pattern = None;
    if function.takes_pattern()
        && let Some(arg) = args.get(1)
        && let Op::Constant(Constant::Text(text)) = &arg.op
    {
        let compiled = functions::compile_pattern(text);
        pattern = Some(compiled.map_err(|message| mistake(arg.span, message))?);
    }
    let op = Op::Call {
        function,
        args,
        pattern,
    };
    node(span, function.returns, op)
}

/// What `node` yields without data, where it is made of constants alone. Such parts are tried when
/// they are compiled: what fails then fails always.
pub(super) fn constant_parts(node: &Node) -> Vec<&Node> {
    let mut found = Vec::new();
    let mut open = vec![node];
    while let Some(node) = open.pop() {
        let children = node.children();
        let computes = matches!(node.op, Op::Call { .. } | Op::Chain(..));
        if computes && !children.is_empty() && children.iter().all(|child| child.is_constant()) {
            found.push(node);
        }
        open.extend(children);
    }
    found
}
