//! Which root names a CEL expression reads: its identifiers, less the ones that macros like `map`
//! bind themselves. And how deep those stand in each other, which bounds what an expression costs.

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr};

/// The free names of `expression`, sorted, each once.
pub(super) fn roots(expression: &IdedExpr) -> Vec<String> {
    let mut found = Vec::new();
    collect(expression, &mut Vec::new(), &mut found);
    found.sort_unstable();
    found.dedup();
    found
}

/// How deep loops (`map`, `filter`, `all`, `exists`) stand in each other's bodies.
pub(super) fn loop_depth(expression: &IdedExpr) -> usize {
    let deepest = |parts: &mut dyn Iterator<Item = &IdedExpr>| parts.map(loop_depth).max();
    match &expression.expr {
        Expr::Unspecified | Expr::Literal(_) | Expr::Ident(_) => 0,
        Expr::Select(select) => loop_depth(&select.operand),
        Expr::Call(call) => {
            deepest(&mut call.target.as_deref().into_iter().chain(&call.args)).unwrap_or(0)
        }
        Expr::List(list) => deepest(&mut list.elements.iter()).unwrap_or(0),
        Expr::Map(map) => entries_depth(map.entries.iter().map(|e| &e.expr)),
        Expr::Struct(object) => entries_depth(object.entries.iter().map(|e| &e.expr)),
        Expr::Comprehension(inner) => {
            // One loop behind another is not one in another.
            let before = loop_depth(&inner.iter_range).max(loop_depth(&inner.accu_init));
            let body = [&inner.loop_cond, &inner.loop_step, &inner.result];
            before.max(1 + body.into_iter().map(loop_depth).max().unwrap_or(0))
        }
    }
}

fn entries_depth<'a>(entries: impl Iterator<Item = &'a EntryExpr>) -> usize {
    entries
        .map(|entry| match entry {
            EntryExpr::StructField(field) => loop_depth(&field.value),
            EntryExpr::MapEntry(entry) => loop_depth(&entry.key).max(loop_depth(&entry.value)),
        })
        .max()
        .unwrap_or(0)
}

fn collect<'a>(node: &'a IdedExpr, bound: &mut Vec<&'a str>, found: &mut Vec<String>) {
    match &node.expr {
        Expr::Unspecified | Expr::Literal(_) => {}
        Expr::Ident(name) => {
            if !bound.contains(&name.as_str()) {
                found.push(name.clone());
            }
        }
        Expr::Select(select) => collect(&select.operand, bound, found),
        Expr::Call(call) => {
            for part in call.target.as_deref().into_iter().chain(&call.args) {
                collect(part, bound, found);
            }
        }
        Expr::List(list) => {
            for element in &list.elements {
                collect(element, bound, found);
            }
        }
        Expr::Map(map) => collect_entries(map.entries.iter().map(|e| &e.expr), bound, found),
        Expr::Struct(object) => {
            collect_entries(object.entries.iter().map(|e| &e.expr), bound, found);
        }
        Expr::Comprehension(inner) => {
            collect(&inner.iter_range, bound, found);
            collect(&inner.accu_init, bound, found);
            let outer = bound.len();
            bound.push(&inner.iter_var);
            bound.extend(inner.iter_var2.as_deref());
            bound.push(&inner.accu_var);
            for part in [&inner.loop_cond, &inner.loop_step, &inner.result] {
                collect(part, bound, found);
            }
            bound.truncate(outer);
        }
    }
}

fn collect_entries<'a>(
    entries: impl Iterator<Item = &'a EntryExpr>,
    bound: &mut Vec<&'a str>,
    found: &mut Vec<String>,
) {
    for entry in entries {
        match entry {
            EntryExpr::StructField(field) => collect(&field.value, bound, found),
            EntryExpr::MapEntry(entry) => {
                collect(&entry.key, bound, found);
                collect(&entry.value, bound, found);
            }
        }
    }
}
