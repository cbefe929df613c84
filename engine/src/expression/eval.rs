//! Evaluation: one call per node, every step of it paid for.

mod loops;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

use super::Scope;
use super::budget::{Budget, OverBudget};
use super::failure::{Failure, Fault, Missing};
use super::functions::Call;
use super::limits::FAILURE_COST;
use super::node::{Base, Constant, Node, Op, Source, Step, StepKind};
use super::operators;
use super::value::{Kinds, Object, Text, Val, charge_data, quoted};

/// What the data of one source turned out to be; looked up when it is first needed.
pub(super) type Cell<'s> = OnceCell<Option<Cow<'s, Value>>>;

pub(super) type Outcome<'a, T = Val<'a>> = Result<T, Box<Fault<'a>>>;

/// The state of one evaluation. `'s` is the life of the data, `'a` that of what is looked up in it.
pub(super) struct Evaluator<'a, 's> {
    pub(super) scope: &'s dyn Scope,
    pub(super) sources: &'a [Source],
    pub(super) cells: &'a [Cell<'s>],
    /// The variables of the loops around, outermost first.
    pub(super) locals: Vec<Val<'a>>,
    pub(super) budget: &'a mut Budget,
}

impl<'a, 's> Evaluator<'a, 's>
where
    's: 'a,
{
    pub(super) fn evaluate(&mut self, node: &'a Node) -> Outcome<'a> {
        self.charge(node, 1)?;
        match &node.op {
            Op::Constant(constant) => self.constant(node, constant),
            Op::Path { base, steps } => self.path(node, base, steps),
            Op::Has(inner) => self.has(inner).map(Val::Bool),
            Op::Default(options) => self.default(options),
            Op::Not(operand) => {
                let value = self.boolean(operand, "`!`")?;
                Ok(Val::Bool(!value))
            }
            Op::Negate(operand) => self.negate(operand),
            Op::Chain(first, rest) => {
                let mut left = self.evaluate(first)?;
                for (operator, operand) in rest {
                    let right = self.evaluate(operand)?;
                    left = operator
                        .apply(&left, &right, self.budget)
                        .map_err(|failure| failure.at(first.span.to(operand.span)))?;
                }
                Ok(left)
            }
            Op::All(operands) => self.logical(operands, false),
            Op::Any(operands) => self.logical(operands, true),
            Op::Conditional(parts) => {
                let [condition, yes, no] = parts.as_ref();
                let branch = if self.boolean(condition, "a conditional")? {
                    yes
                } else {
                    no
                };
                self.evaluate(branch)
            }
            Op::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    list.push(self.evaluate(item)?);
                }
                Ok(Val::list(list))
            }
            Op::Object(entries) => self.object(entries),
            Op::Loop(inner) => self.run_loop(node, inner),
            Op::Call {
                function,
                args,
                pattern,
            } => {
                let mut values = Vec::with_capacity(args.len());
                for arg in args {
                    values.push(self.evaluate(arg)?);
                }
                let call = Call {
                    args: values,
                    budget: self.budget,
                    pattern: pattern.as_ref(),
                };
                function
                    .apply(call)
                    .map_err(|failure| failure.at(node.span))
            }
        }
    }

    pub(super) fn charge(&mut self, node: &Node, units: u64) -> Outcome<'a, ()> {
        self.pay(node, |budget| budget.charge(units))
    }

    /// Pays for what is about to be done for `node`.
    pub(super) fn pay(
        &mut self,
        node: &Node,
        pay: impl FnOnce(&mut Budget) -> Result<(), OverBudget>,
    ) -> Outcome<'a, ()> {
        pay(self.budget).map_err(|over| Failure::from(over).at(node.span))
    }

    fn constant(&mut self, node: &Node, constant: &'a Constant) -> Outcome<'a> {
        Ok(match constant {
            Constant::Null => Val::Null,
            Constant::Bool(value) => Val::Bool(*value),
            Constant::Int(number) => Val::Int(*number),
            Constant::Float(number) => Val::Float(*number),
            Constant::Text(text) => Val::Text(Text::Data(text)),
            Constant::Bytes(bytes) => {
                self.pay(node, |budget| budget.bytes(bytes.len()))?;
                Val::Bytes(Rc::from(bytes.as_ref()))
            }
        })
    }

    /// A value that must be true or false.
    pub(super) fn boolean(&mut self, node: &'a Node, what: &str) -> Outcome<'a, bool> {
        match self.evaluate(node)? {
            Val::Bool(value) => Ok(value),
            other => Err(Failure::kind(what, Kinds::BOOL, &other).at(node.span)),
        }
    }

    fn negate(&mut self, operand: &'a Node) -> Outcome<'a> {
        let negated = match self.evaluate(operand)? {
            Val::Int(number) => operators::int(number.checked_neg()),
            Val::Float(number) => Ok(Val::Float(-number)),
            Val::Duration(nanos) => Ok(Val::Duration(-nanos)),
            other => Err(Failure::kind(
                "`-`",
                Kinds::NUMBER.or(Kinds::DURATION),
                &other,
            )),
        };
        negated.map_err(|failure| failure.at(operand.span))
    }

    /// `&&` (which `false` decides) and `||` (which `true` decides). As CEL has it, an operand that
    /// decides makes up for one that failed, whichever stands first.
    fn logical(&mut self, operands: &'a [Node], decisive: bool) -> Outcome<'a> {
        let what = if decisive { "`||`" } else { "`&&`" };
        let mut failed = None;
        for operand in operands {
            match self.boolean(operand, what) {
                Ok(value) if value == decisive => return Ok(Val::Bool(decisive)),
                Ok(_) => {}
                Err(fault) if fault.is_cost() => return Err(fault),
                Err(fault) => {
                    // What was composed for a message takes longer than a step.
                    self.charge(operand, FAILURE_COST)?;
                    failed.get_or_insert(fault);
                }
            }
        }
        match failed {
            Some(fault) => Err(fault),
            None => Ok(Val::Bool(!decisive)),
        }
    }

    fn has(&mut self, inner: &'a Node) -> Outcome<'a, bool> {
        match self.evaluate(inner) {
            Ok(_) => Ok(true),
            Err(fault) if fault.is_missing() => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// The first that is there and not null; the last one as it is.
    fn default(&mut self, options: &'a [Node]) -> Outcome<'a> {
        let mut last = Ok(Val::Null);
        for option in options {
            last = self.evaluate(option);
            match &last {
                Ok(Val::Null) => {}
                Err(fault) if fault.is_missing() => {}
                Ok(_) | Err(_) => return last,
            }
        }
        last
    }

    fn object(&mut self, entries: &'a [(Node, Node)]) -> Outcome<'a> {
        let mut fields = BTreeMap::new();
        for (key_node, value_node) in entries {
            let value = self.evaluate(key_node)?;
            let Some(name) = operators::key(&value) else {
                return Err(Failure::kind("a key", operators::KEYS, &value).at(key_node.span));
            };
            self.pay(key_node, |budget| budget.bytes(name.len()))?;
            let name = name.into_owned();
            let value = self.evaluate(value_node)?;
            if fields.contains_key(&name) {
                let message = format!("the key `{}` stands there twice", quoted(&name));
                return Err(Failure::invalid(message).at(key_node.span));
            }
            fields.insert(name, value);
        }
        Ok(Val::Object(Object::Built(Rc::new(fields))))
    }

    fn path(&mut self, node: &'a Node, base: &'a Base, steps: &'a [Step]) -> Outcome<'a> {
        let (mut value, done) = match base {
            Base::Node(inner) => (self.evaluate(inner)?, 0),
            Base::Local(slot, name) => {
                let local = self.locals.get(*slot).cloned();
                let missing = || Failure::Missing(Missing::Local(name)).at(node.span);
                (local.ok_or_else(missing)?, 0)
            }
            Base::Source(index) => self.source(node, *index, steps)?,
        };
        for (at, step) in steps.iter().enumerate().skip(done) {
            self.charge(node, 1)?;
            value = self.step(node, at, step, value)?;
        }
        Ok(value)
    }

    /// The value of a source and how many steps it is down the path.
    fn source(
        &mut self,
        node: &'a Node,
        index: usize,
        steps: &'a [Step],
    ) -> Outcome<'a, (Val<'a>, usize)> {
        let source = &self.sources[index];
        let scope = self.scope;
        let cell = &self.cells[index];
        let is_new = cell.get().is_none();
        let found = cell.get_or_init(|| match (&source.field, &source.part) {
            (Some(field), Some((part, _))) => {
                scope.lend(&source.root, field, part).map(Cow::Borrowed)
            }
            (Some(field), None) => scope.field(&source.root, field),
            (None, _) => scope.root(&source.root),
        });
        if let Some(value) = found {
            // Whatever was built for this expression is paid for by it.
            if let (true, Cow::Owned(built)) = (is_new, value) {
                self.pay(node, |budget| charge_data(built, 0, budget))?;
            }
            let steps_down =
                usize::from(source.field.is_some()) + usize::from(source.part.is_some());
            return Ok((Val::of(value), steps_down));
        }
        if let Some((_, whole)) = source.part {
            return self.source(node, whole, steps);
        }
        let span = steps.first().map_or(node.span, |step| step.span);
        Err(Failure::Missing(Missing::Source { source }).at(span))
    }

    fn step(&mut self, node: &'a Node, at: usize, step: &'a Step, within: Val<'a>) -> Outcome<'a> {
        let key = match &step.kind {
            StepKind::Field(name) => Val::Text(Text::Data(name)),
            StepKind::Index(index) => self.evaluate(index)?,
        };
        let found = match (&within, &step.kind) {
            (Val::List(items), StepKind::Index(_)) => {
                let Some(position) = position(&key) else {
                    let what = "the position of an element";
                    return Err(Failure::kind(what, Kinds::NUMBER, &key).at(step.span));
                };
                usize::try_from(position).ok().and_then(|at| items.get(at))
            }
            _ => {
                let Some(name) = operators::key(&key) else {
                    return Err(Failure::kind("a key", operators::KEYS, &key).at(step.span));
                };
                self.pay(node, |budget| budget.bytes(name.len()))?;
                match &within {
                    Val::Object(object) => object.get(&name),
                    // What has no parts lacks this one, too.
                    _ => None,
                }
            }
        };
        found.ok_or_else(|| {
            let missing = Missing::Part {
                node,
                step: at,
                key,
                within,
            };
            Failure::Missing(missing).at(step.span)
        })
    }
}

/// A position in a list; 1.0 is 1.
fn position(index: &Val<'_>) -> Option<i128> {
    match index {
        Val::Int(number) => Some(*number),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "no list has a position beyond what is cut off"
        )]
        Val::Float(number) if number.fract() == 0.0 => Some(*number as i128),
        _ => None,
    }
}
