//! `map`, `filter`, `all`, `exists`, `exists_one` and `sortBy`: the only things that repeat, and so
//! the only ones that make an expression's cost depend on the data. Each round is paid for by what
//! is evaluated in it.

use super::{Evaluator, Outcome};
use crate::expression::failure::Failure;
use crate::expression::functions::{keys, sorted_by};
use crate::expression::limits::FAILURE_COST;
use crate::expression::node::{Loop, LoopKind, Node};
use crate::expression::value::{Kinds, Val};

impl<'a, 's> Evaluator<'a, 's>
where
    's: 'a,
{
    pub(super) fn run_loop(&mut self, node: &'a Node, inner: &'a Loop) -> Outcome<'a> {
        let items: Vec<Val<'a>> = match self.evaluate(&inner.range)? {
            Val::List(list) => {
                self.charge(node, 1 + u64::try_from(list.len()).unwrap_or(u64::MAX))?;
                list.iter().collect()
            }
            // Over an object: its keys, in their order.
            Val::Object(object) => {
                let keys = keys(&object, self.budget);
                keys.map_err(|failure| failure.at(node.span))?
            }
            other => {
                let wanted = Kinds::LIST.or(Kinds::OBJECT);
                return Err(Failure::kind("a loop", wanted, &other).at(inner.range.span));
            }
        };
        match inner.kind {
            LoopKind::All => self.decide(inner, items, false),
            LoopKind::Exists => self.decide(inner, items, true),
            LoopKind::ExistsOne => self.exactly_one(inner, items),
            LoopKind::Filter => self.filter(inner, items),
            LoopKind::Map => self.map(inner, items),
            LoopKind::SortBy => self.sort_by(node, inner, items),
        }
    }

    /// Evaluates `body` with the loop's variable being `item`.
    fn with<T>(
        &mut self,
        item: Val<'a>,
        body: impl FnOnce(&mut Self) -> Outcome<'a, T>,
    ) -> Outcome<'a, T> {
        self.locals.push(item);
        let result = body(self);
        self.locals.pop();
        result
    }

    /// `all` (which a `false` decides) and `exists` (which a `true` decides). As with `&&` and `||`,
    /// an item that decides makes up for one that failed.
    fn decide(&mut self, inner: &'a Loop, items: Vec<Val<'a>>, decisive: bool) -> Outcome<'a> {
        let mut failed = None;
        for item in items {
            match self.with(item, |this| this.boolean(&inner.body, "what a loop asks")) {
                Ok(value) if value == decisive => return Ok(Val::Bool(decisive)),
                Ok(_) => {}
                Err(fault) if fault.is_cost() => return Err(fault),
                Err(fault) => {
                    self.charge(&inner.body, FAILURE_COST)?;
                    failed.get_or_insert(fault);
                }
            }
        }
        match failed {
            Some(fault) => Err(fault),
            None => Ok(Val::Bool(!decisive)),
        }
    }

    fn exactly_one(&mut self, inner: &'a Loop, items: Vec<Val<'a>>) -> Outcome<'a> {
        let mut count = 0_usize;
        for item in items {
            if self.with(item, |this| this.boolean(&inner.body, "what a loop asks"))? {
                count += 1;
            }
        }
        Ok(Val::Bool(count == 1))
    }

    fn filter(&mut self, inner: &'a Loop, items: Vec<Val<'a>>) -> Outcome<'a> {
        let mut kept = Vec::new();
        for item in items {
            let again = item.clone();
            if self.with(item, |this| this.boolean(&inner.body, "what a loop asks"))? {
                kept.push(again);
            }
        }
        Ok(Val::list(kept))
    }

    fn map(&mut self, inner: &'a Loop, items: Vec<Val<'a>>) -> Outcome<'a> {
        let mut results = Vec::with_capacity(items.len());
        for item in items {
            let result = self.with(item, |this| {
                if let Some(filter) = &inner.filter
                    && !this.boolean(filter, "what a loop asks")?
                {
                    return Ok(None);
                }
                this.evaluate(&inner.body).map(Some)
            })?;
            results.extend(result);
        }
        Ok(Val::list(results))
    }

    fn sort_by(&mut self, node: &'a Node, inner: &'a Loop, items: Vec<Val<'a>>) -> Outcome<'a> {
        let mut keyed: Vec<(Val<'a>, Val<'a>)> = Vec::with_capacity(items.len());
        for item in items {
            let again = item.clone();
            let key = self.with(item, |this| this.evaluate(&inner.body))?;
            keyed.push((key, again));
        }
        let order: Result<Vec<Val<'a>>, Failure<'a>> = sorted_by(keyed, self.budget);
        order
            .map(Val::list)
            .map_err(|failure| failure.at(node.span))
    }
}
