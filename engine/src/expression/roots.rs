//! Which root names a CEL expression reads: its identifiers, less the ones that macros like `map`
//! bind themselves.

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
