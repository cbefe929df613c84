//! What follows a value: fields, indexes, functions called on it, loops over it.

use super::{Lowered, Lowering, call, default, mistake, node, require, unknown};
use crate::expression::functions;
use crate::expression::node::{Base, Loop, LoopKind, Node, Op, Step, StepKind};
use crate::expression::operators::KEYS;
use crate::expression::parser::{Form, Span, Suffix, SuffixKind, Syntax};
use crate::expression::value::Kinds;

/// Where a path begins.
enum Start<'s> {
    Name(&'s str),
    Node(Node),
}

impl Lowering {
    pub(super) fn member(&mut self, first: &Syntax, suffixes: &[Suffix]) -> Lowered {
        // A namespace is no value: `json.encode(x)` calls the function of that name.
        if let (Form::Name(namespace), Some((suffix, rest))) = (&first.form, suffixes.split_first())
            && let SuffixKind::Call(name, args) = &suffix.kind
            && functions::is_namespace(namespace)
            && !self.locals.contains(namespace)
        {
            let full = format!("{namespace}.{name}");
            if let Some(function) = functions::find(&full) {
                let args = self.all(args)?;
                let called = call(suffix.span, function, args)?;
                return self.suffixes(Start::Node(called), suffix.span, rest);
            }
            // A step may have assigned something to this name, of which a function can be called.
            if functions::find(name).is_none() && !functions::FORMS.contains(&name.as_str()) {
                return Err(unknown(suffix.span, &full));
            }
        }
        let start = match &first.form {
            Form::Name(name) => Start::Name(name),
            _ => Start::Node(self.lower(first)?),
        };
        self.suffixes(start, first.span, suffixes)
    }

    /// Steps are gathered into one path until something is called on it.
    fn suffixes<'s>(&mut self, start: Start<'s>, span: Span, suffixes: &'s [Suffix]) -> Lowered {
        let mut start = start;
        let mut steps = Vec::new();
        let mut span = span;
        for suffix in suffixes {
            match &suffix.kind {
                SuffixKind::Field(name) => steps.push(Step {
                    span: suffix.span,
                    kind: StepKind::Field(name.as_str().into()),
                }),
                SuffixKind::Index(index) => {
                    let index = self.lower(index)?;
                    require("an index", KEYS, &index)?;
                    steps.push(Step {
                        span: suffix.span,
                        kind: StepKind::Index(index),
                    });
                }
                SuffixKind::Call(name, args) => {
                    let target = self.finish(start, span, std::mem::take(&mut steps))?;
                    start = Start::Node(self.method(suffix.span, target, name, args)?);
                }
            }
            span = suffix.span;
        }
        self.finish(start, span, steps)
    }

    fn finish(&mut self, start: Start<'_>, span: Span, steps: Vec<Step>) -> Lowered {
        match start {
            Start::Name(name) => self.path(span, name, steps),
            Start::Node(inner) if steps.is_empty() => Ok(inner),
            Start::Node(inner) => {
                let parts = match steps.first().map(|step| &step.kind) {
                    Some(StepKind::Index(_)) => Kinds::LIST.or(Kinds::OBJECT),
                    _ => Kinds::OBJECT,
                };
                if !inner.kinds.meets(parts) {
                    let message = format!("this is always {}, which has no parts", inner.kinds);
                    return Err(mistake(inner.span, message));
                }
                let base = Base::Node(Box::new(inner));
                node(span, Kinds::ANY, Op::Path { base, steps })
            }
        }
    }

    fn method(&mut self, span: Span, target: Node, name: &str, args: &[Syntax]) -> Lowered {
        let kind = match name {
            "map" => LoopKind::Map,
            "filter" => LoopKind::Filter,
            "all" => LoopKind::All,
            "exists" => LoopKind::Exists,
            "exists_one" | "existsOne" => LoopKind::ExistsOne,
            "sortBy" => LoopKind::SortBy,
            _ => {
                let mut all = vec![target];
                all.extend(self.all(args)?);
                if name == "default" {
                    return default(span, all);
                }
                let function = functions::find(name).ok_or_else(|| unknown(span, name))?;
                return call(span, function, all);
            }
        };
        self.loop_over(span, kind, target, name, args)
    }

    fn loop_over(
        &mut self,
        span: Span,
        kind: LoopKind,
        range: Node,
        name: &str,
        args: &[Syntax],
    ) -> Lowered {
        let shape = || mistake(span, format!("`{name}` is called as `list.{name}(x, …)`"));
        let (variable, filter, body) = match args {
            [variable, body] => (variable, None, body),
            [variable, filter, body] if kind == LoopKind::Map => (variable, Some(filter), body),
            _ => return Err(shape()),
        };
        let Form::Name(variable) = &variable.form else {
            return Err(shape());
        };
        require("a loop", Kinds::LIST.or(Kinds::OBJECT), &range)?;
        self.locals.push(variable.clone());
        let parts = self.loop_parts(kind, filter, body);
        self.locals.pop();
        let (filter, body) = parts?;
        let kinds = match kind {
            LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne => Kinds::BOOL,
            LoopKind::Filter | LoopKind::Map | LoopKind::SortBy => Kinds::LIST,
        };
        let inner = Loop {
            kind,
            range,
            filter,
            body,
        };
        node(span, kinds, Op::Loop(Box::new(inner)))
    }

    fn loop_parts(
        &mut self,
        kind: LoopKind,
        filter: Option<&Syntax>,
        body: &Syntax,
    ) -> Lowered<(Option<Node>, Node)> {
        let filter = filter.map(|filter| self.lower(filter)).transpose()?;
        let body = self.lower(body)?;
        let asks = !matches!(kind, LoopKind::Map | LoopKind::SortBy);
        for question in filter.iter().chain(asks.then_some(&body)) {
            require("what a loop asks", Kinds::BOOL, question)?;
        }
        Ok((filter, body))
    }
}
