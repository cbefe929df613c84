//! Functions of lists and objects.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Call, Function};
use crate::expression::budget::{Budget, within_list};
use crate::expression::failure::Failure;
use crate::expression::operators::{Operator, compare, equal};
use crate::expression::value::{Kinds, List, Object, Val};

const LIST: Kinds = Kinds::LIST;
const OBJECT: Kinds = Kinds::OBJECT;
const NUMBER: Kinds = Kinds::NUMBER;
const SIZED: Kinds = Kinds::TEXT.or(LIST).or(OBJECT).or(Kinds::BYTES);
const ORDERED: Kinds = NUMBER
    .or(Kinds::TEXT)
    .or(Kinds::INSTANT)
    .or(Kinds::DURATION);

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("size", &[SIZED], NUMBER, size),
    Function::new("flatten", &[LIST, NUMBER], LIST, flatten)
        .required(1)
        .counts(),
    Function::new("distinct", &[LIST], LIST, distinct),
    Function::new("sort", &[LIST], LIST, sort),
    Function::new("reverse", &[LIST], LIST, reverse),
    Function::new("slice", &[LIST, NUMBER, NUMBER], LIST, slice)
        .required(2)
        .counts(),
    Function::new("range", &[NUMBER, NUMBER], LIST, range)
        .required(1)
        .counts(),
    Function::new("min", &[ORDERED.or(LIST), ORDERED], ORDERED, min)
        .required(1)
        .repeats(),
    Function::new("max", &[ORDERED.or(LIST), ORDERED], ORDERED, max)
        .required(1)
        .repeats(),
    Function::new("sum", &[LIST], NUMBER.or(Kinds::DURATION), sum),
    Function::new("zip", &[LIST, LIST], LIST, zip),
    Function::new("keys", &[OBJECT], LIST, keys_of),
    Function::new("values", &[OBJECT], LIST, values),
    Function::new("merge", &[OBJECT, OBJECT], OBJECT, merge).repeats(),
];

type Outcome<'a, T = Val<'a>> = Result<T, Failure<'a>>;

fn size<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    Ok(Val::int(match call.args.first() {
        Some(Val::Text(text)) => {
            call.budget.bytes(text.len())?;
            text.chars().count()
        }
        Some(Val::Bytes(bytes)) => bytes.len(),
        Some(Val::List(list)) => list.len(),
        Some(Val::Object(object)) => object.len(),
        _ => 0,
    }))
}

fn flatten<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let levels = call.count(1)?.unwrap_or(1);
    let mut flat = Vec::new();
    flatten_into(&call.list(0), levels, &mut flat, call.budget)?;
    Ok(Val::list(flat))
}

/// `levels` may be any number: values are nested no deeper than their bound.
fn flatten_into<'a>(
    list: &List<'a>,
    levels: usize,
    flat: &mut Vec<Val<'a>>,
    budget: &mut Budget,
) -> Outcome<'a, ()> {
    for item in list.iter() {
        match &item {
            Val::List(inner) if levels > 0 => {
                budget.charge(1)?;
                flatten_into(inner, levels - 1, flat, budget)?;
            }
            _ => {
                budget.charge(1)?;
                flat.push(item);
            }
        }
    }
    Ok(within_list(flat.len())?)
}

fn distinct<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let list = call.list(0);
    call.budget.list(list.len())?;
    let mut order: Vec<(usize, Val<'a>)> = list.iter().enumerate().collect();
    sort_with(&mut order, call.budget, |(_, a), (_, b), budget| {
        total_order(a, b, budget)
    })?;
    let mut first: Vec<(usize, Val<'a>)> = Vec::new();
    for (index, item) in order {
        // The sort keeps equal items in their order, so the first of them comes first.
        match first.last() {
            Some((_, last)) if equal(last, &item, call.budget)? => {}
            _ => first.push((index, item)),
        }
    }
    first.sort_unstable_by_key(|(index, _)| *index);
    Ok(Val::list(first.into_iter().map(|(_, item)| item).collect()))
}

fn sort<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let list = call.list(0);
    call.budget.list(list.len())?;
    let keyed = list.iter().map(|item| (item.clone(), item)).collect();
    Ok(Val::list(sorted_by(keyed, call.budget)?))
}

/// The second parts, sorted by the first ones; equal ones keep their order.
///
/// # Errors
/// When the first parts have no order among each other.
pub(in crate::expression) fn sorted_by<'a>(
    mut keyed: Vec<(Val<'a>, Val<'a>)>,
    budget: &mut Budget,
) -> Outcome<'a, Vec<Val<'a>>> {
    sort_with(&mut keyed, budget, |(a, _), (b, _), budget| {
        ordered("sorting", a, b, budget)
    })?;
    Ok(keyed.into_iter().map(|(_, item)| item).collect())
}

/// A stable sort whose comparisons may fail: a merge sort from below.
///
/// The standard library's cannot be left early, and panics where answers contradict each other, as
/// those do that are made up once a comparison has failed.
fn sort_with<'a, T>(
    items: &mut Vec<T>,
    budget: &mut Budget,
    compare: impl Fn(&T, &T, &mut Budget) -> Outcome<'a, Ordering>,
) -> Outcome<'a, ()> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    let mut merged = Vec::with_capacity(order.len());
    let mut width = 1;
    while width < order.len() {
        merged.clear();
        for run in order.chunks(width * 2) {
            let (mut left, mut right) = run.split_at(width.min(run.len()));
            while let ([first, rest_left @ ..], [second, rest_right @ ..]) = (left, right) {
                budget.charge(1)?;
                if compare(&items[*second], &items[*first], budget)?.is_lt() {
                    merged.push(*second);
                    right = rest_right;
                } else {
                    merged.push(*first);
                    left = rest_left;
                }
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        std::mem::swap(&mut order, &mut merged);
        width *= 2;
    }
    let mut slots: Vec<Option<T>> = items.drain(..).map(Some).collect();
    items.extend(order.into_iter().filter_map(|at| slots[at].take()));
    Ok(())
}

fn ordered<'a>(what: &str, a: &Val<'a>, b: &Val<'a>, budget: &mut Budget) -> Outcome<'a, Ordering> {
    compare(a, b, budget)?.ok_or_else(|| {
        Failure::Type(format!(
            "{what} needs values of one kind that has an order, not {} and {}",
            a.describe(),
            b.describe()
        ))
    })
}

/// An order of all values, so that equal ones come to stand side by side.
fn total_order<'a>(a: &Val<'a>, b: &Val<'a>, budget: &mut Budget) -> Outcome<'a, Ordering> {
    budget.charge(1)?;
    if let Some(order) = compare(a, b, budget)? {
        return Ok(order);
    }
    match (a, b) {
        (Val::List(a), Val::List(b)) => {
            for (a, b) in a.iter().zip(b.iter()) {
                let order = total_order(&a, &b, budget)?;
                if order.is_ne() {
                    return Ok(order);
                }
            }
            Ok(a.len().cmp(&b.len()))
        }
        (Val::Object(a), Val::Object(b)) => {
            budget.values(a.len() + b.len())?;
            let (left, right) = (a.keys(), b.keys());
            for (one, other) in left.iter().zip(&right) {
                budget.bytes(one.len().min(other.len()))?;
                let mut order = one.cmp(other);
                if order.is_eq()
                    && let (Some(a), Some(b)) = (a.get(one), b.get(other))
                {
                    order = total_order(&a, &b, budget)?;
                }
                if order.is_ne() {
                    return Ok(order);
                }
            }
            Ok(left.len().cmp(&right.len()))
        }
        _ => Ok(a.kind().rank().cmp(&b.kind().rank())),
    }
}

fn reverse<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let list = call.list(0);
    call.budget.list(list.len())?;
    let mut items: Vec<Val<'a>> = list.iter().collect();
    items.reverse();
    Ok(Val::list(items))
}

fn slice<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let list = call.list(0);
    let start = call.count(1)?.unwrap_or(0).min(list.len());
    let end = call.count(2)?.unwrap_or(usize::MAX).min(list.len());
    let length = end.saturating_sub(start);
    call.budget.list(length)?;
    Ok(Val::list(
        (start..end).filter_map(|index| list.get(index)).collect(),
    ))
}

fn range<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let first = call.count(0)?.unwrap_or(0);
    let (start, end) = match call.count(1)? {
        Some(end) => (first, end),
        None => (0, first),
    };
    call.budget.list(end.saturating_sub(start))?;
    Ok(Val::list((start..end).map(Val::int).collect()))
}

fn min<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    extreme(call, "min", Ordering::Less)
}

fn max<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    extreme(call, "max", Ordering::Greater)
}

fn extreme<'a>(call: &mut Call<'_, 'a>, name: &str, wanted: Ordering) -> Outcome<'a> {
    let items: Vec<Val<'a>> = match call.args.as_slice() {
        [Val::List(list)] => {
            call.budget.values(list.len())?;
            list.iter().collect()
        }
        args => args.to_vec(),
    };
    let what = format!("`{name}`");
    let mut best: Option<Val<'a>> = None;
    for item in items {
        let is_better = match &best {
            // Alone it has to be of a kind that has an order, too.
            None => ordered(&what, &item, &item, call.budget).map(|_| true)?,
            Some(best) => ordered(&what, &item, best, call.budget)? == wanted,
        };
        if is_better {
            best = Some(item);
        }
    }
    best.ok_or_else(|| Failure::invalid(format!("{what} of an empty list is nothing")))
}

fn sum<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let list = call.list(0);
    call.budget.values(list.len())?;
    let mut total = match list.get(0) {
        Some(Val::Duration(_)) => Val::Duration(0),
        _ => Val::Int(0),
    };
    for item in list.iter() {
        if !Kinds::NUMBER.or(Kinds::DURATION).meets(item.kind()) {
            let wanted = Kinds::NUMBER.or(Kinds::DURATION);
            return Err(Failure::kind(
                "each element of what `sum` adds up",
                wanted,
                &item,
            ));
        }
        total = Operator::Add.apply(&total, &item, call.budget)?;
    }
    Ok(total)
}

fn zip<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let (a, b) = (call.list(0), call.list(1));
    call.budget.list(3 * a.len().min(b.len()))?;
    let pairs = a.iter().zip(b.iter());
    Ok(Val::list(
        pairs.map(|(a, b)| Val::list(vec![a, b])).collect(),
    ))
}

fn keys_of<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    match call.object(0) {
        Some(object) => keys(&object, call.budget).map(Val::list),
        None => Ok(Val::Null),
    }
}

/// The keys of an object, sorted.
pub(in crate::expression) fn keys<'a>(
    object: &Object<'a>,
    budget: &mut Budget,
) -> Outcome<'a, Vec<Val<'a>>> {
    budget.list(object.len())?;
    // They are sorted and copied.
    budget.values(object.len().saturating_mul(2))?;
    let mut keys = Vec::with_capacity(object.len());
    for key in object.keys() {
        budget.bytes(key.len())?;
        keys.push(Val::text(key));
    }
    Ok(keys)
}

fn values<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let Some(object) = call.object(0) else {
        return Ok(Val::Null);
    };
    call.budget.list(object.len())?;
    let keys = object.keys().into_iter();
    Ok(Val::list(keys.filter_map(|key| object.get(key)).collect()))
}

fn merge<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let mut fields = BTreeMap::new();
    for index in 0..call.args.len() {
        let Some(object) = call.object(index) else {
            continue;
        };
        // Putting a field into its place takes longer than visiting it.
        call.budget.values(object.len().saturating_mul(6))?;
        for key in object.keys() {
            call.budget.bytes(key.len())?;
            fields.extend(object.get(key).map(|value| (key.to_owned(), value)));
        }
    }
    Ok(Val::Object(Object::Built(Rc::new(fields))))
}
