//! What the operators do, with the values as they are and, when compiling, with their kinds.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::rc::Rc;

use super::budget::Budget;
use super::failure::Failure;
use super::time;
use super::value::{Kinds, List, Object, Val};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

const TIMES: Kinds = Kinds::INSTANT.or(Kinds::DURATION);

/// What the relations of order can compare, each with its own kind.
const ORDERED: [Kinds; 6] = [
    Kinds::NUMBER,
    Kinds::TEXT,
    Kinds::BOOL,
    Kinds::BYTES,
    Kinds::INSTANT,
    Kinds::DURATION,
];

/// What can be the key of an object.
pub(super) const KEYS: Kinds = Kinds::TEXT.or(Kinds::NUMBER).or(Kinds::BOOL);

type Outcome<'a, T = Val<'a>> = Result<T, Failure<'a>>;

impl Operator {
    pub(super) const RELATIONS: [Self; 7] = [
        Self::Equal,
        Self::NotEqual,
        Self::Less,
        Self::LessOrEqual,
        Self::Greater,
        Self::GreaterOrEqual,
        Self::In,
    ];
    pub(super) const SUMS: [Self; 2] = [Self::Add, Self::Subtract];
    pub(super) const PRODUCTS: [Self; 3] = [Self::Multiply, Self::Divide, Self::Remainder];

    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
        }
    }

    /// What it yields for operands of these kinds; `None` if it can only fail. Kinds that can never
    /// be equal count as a failure: whoever compares them means something else.
    pub(super) fn result(self, left: Kinds, right: Kinds) -> Option<Kinds> {
        let (bool_or_none, pairs): (bool, &[[Kinds; 3]]) = match self {
            Self::Add => (
                false,
                &[
                    [Kinds::NUMBER, Kinds::NUMBER, Kinds::NUMBER],
                    [Kinds::TEXT, Kinds::TEXT, Kinds::TEXT],
                    [Kinds::LIST, Kinds::LIST, Kinds::LIST],
                    [Kinds::BYTES, Kinds::BYTES, Kinds::BYTES],
                    [TIMES, Kinds::DURATION, TIMES],
                    [Kinds::DURATION, Kinds::INSTANT, Kinds::INSTANT],
                ],
            ),
            Self::Subtract => (
                false,
                &[
                    [Kinds::NUMBER, Kinds::NUMBER, Kinds::NUMBER],
                    [Kinds::INSTANT, Kinds::INSTANT, Kinds::DURATION],
                    [TIMES, Kinds::DURATION, TIMES],
                ],
            ),
            Self::Multiply | Self::Divide | Self::Remainder => {
                (false, &[[Kinds::NUMBER, Kinds::NUMBER, Kinds::NUMBER]])
            }
            Self::Equal | Self::NotEqual => (
                left.meets(right) || left.meets(Kinds::NULL) || right.meets(Kinds::NULL),
                &[],
            ),
            Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => (
                ORDERED
                    .iter()
                    .any(|kind| kind.meets(left) && kind.meets(right)),
                &[],
            ),
            Self::In => {
                let in_object = right.meets(Kinds::OBJECT) && left.meets(KEYS);
                (right.meets(Kinds::LIST) || in_object, &[])
            }
        };
        if bool_or_none {
            return Some(Kinds::BOOL);
        }
        let results = pairs
            .iter()
            .filter(|[a, b, _]| a.meets(left) && b.meets(right))
            // Of a timestamp or a duration the result is what the left one was.
            .map(|[a, _, result]| {
                if *a == TIMES {
                    left.and(TIMES)
                } else {
                    *result
                }
            });
        let union = results.fold(Kinds::NONE, Kinds::or);
        (union != Kinds::NONE).then_some(union)
    }

    pub(super) fn apply<'a>(
        self,
        left: &Val<'a>,
        right: &Val<'a>,
        budget: &mut Budget,
    ) -> Outcome<'a> {
        match self {
            Self::Add => self.add(left, right, budget),
            Self::Subtract => self.subtract(left, right),
            Self::Multiply => self.number(left, right, i128::checked_mul, |a, b| a * b),
            Self::Divide => {
                if matches!(right, Val::Int(0)) || matches!(right, Val::Float(0.0)) {
                    return Err(Failure::invalid("division by zero"));
                }
                self.number(left, right, i128::checked_div, |a, b| a / b)
            }
            Self::Remainder => {
                if matches!(right, Val::Int(0)) || matches!(right, Val::Float(0.0)) {
                    return Err(Failure::invalid("remainder of a division by zero"));
                }
                self.number(left, right, i128::checked_rem, |a, b| a % b)
            }
            Self::Equal => Ok(Val::Bool(equal(left, right, budget)?)),
            Self::NotEqual => Ok(Val::Bool(!equal(left, right, budget)?)),
            Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => {
                let order =
                    compare(left, right, budget)?.ok_or_else(|| self.misfit(left, right))?;
                Ok(Val::Bool(match self {
                    Self::Less => order == Ordering::Less,
                    Self::LessOrEqual => order != Ordering::Greater,
                    Self::Greater => order == Ordering::Greater,
                    _ => order != Ordering::Less,
                }))
            }
            Self::In => self.contains(left, right, budget),
        }
    }

    fn misfit<'a>(self, left: &Val<'a>, right: &Val<'a>) -> Failure<'a> {
        Failure::Type(format!(
            "`{}` does not fit {} and {}{}",
            self.symbol(),
            left.describe(),
            right.describe(),
            self.hint(left.kind(), right.kind())
        ))
    }

    /// What somebody probably wants who combined these kinds, as the end of a message.
    pub(super) fn hint(self, left: Kinds, right: Kinds) -> &'static str {
        let time_with_text = |a: Kinds, b: Kinds| TIMES.and(a) == a && b.meets(Kinds::TEXT);
        match self {
            Self::In if right == Kinds::TEXT => {
                "; `contains(text, part)` looks for a string in another"
            }
            Self::In => "",
            _ if time_with_text(left, right) || time_with_text(right, left) => {
                "; `timestamp(text)` and `duration(text)` read strings"
            }
            Self::Add if left == Kinds::TEXT || right == Kinds::TEXT => {
                "; `string(value)` makes a string of a value"
            }
            _ => "",
        }
    }

    fn number<'a>(
        self,
        left: &Val<'a>,
        right: &Val<'a>,
        ints: fn(i128, i128) -> Option<i128>,
        floats: fn(f64, f64) -> f64,
    ) -> Outcome<'a> {
        if let (Val::Int(a), Val::Int(b)) = (left, right) {
            return int(ints(*a, *b));
        }
        match (as_float(left), as_float(right)) {
            (Some(a), Some(b)) => float(floats(a, b)),
            _ => Err(self.misfit(left, right)),
        }
    }

    fn add<'a>(self, left: &Val<'a>, right: &Val<'a>, budget: &mut Budget) -> Outcome<'a> {
        match (left, right) {
            (Val::Text(a), Val::Text(b)) => {
                budget.text(a.len() + b.len())?;
                let mut text = String::with_capacity(a.len() + b.len());
                text.push_str(a);
                text.push_str(b);
                Ok(Val::text(text))
            }
            (Val::List(a), Val::List(b)) => {
                budget.list(a.len() + b.len())?;
                Ok(Val::list(a.iter().chain(b.iter()).collect()))
            }
            (Val::Bytes(a), Val::Bytes(b)) => {
                budget.text(a.len() + b.len())?;
                let both: Vec<u8> = a.iter().chain(b.iter()).copied().collect();
                Ok(Val::Bytes(Rc::from(both)))
            }
            (Val::Instant(a), Val::Duration(b)) | (Val::Duration(b), Val::Instant(a)) => {
                time::instant(a.checked_add(*b))
            }
            (Val::Duration(a), Val::Duration(b)) => time::duration(a.checked_add(*b)),
            _ => self.number(left, right, i128::checked_add, |a, b| a + b),
        }
    }

    fn subtract<'a>(self, left: &Val<'a>, right: &Val<'a>) -> Outcome<'a> {
        match (left, right) {
            (Val::Instant(a), Val::Instant(b)) | (Val::Duration(a), Val::Duration(b)) => {
                time::duration(a.checked_sub(*b))
            }
            (Val::Instant(a), Val::Duration(b)) => time::instant(a.checked_sub(*b)),
            _ => self.number(left, right, i128::checked_sub, |a, b| a - b),
        }
    }

    fn contains<'a>(self, left: &Val<'a>, right: &Val<'a>, budget: &mut Budget) -> Outcome<'a> {
        match right {
            Val::List(items) => {
                for item in items.iter() {
                    if equal(left, &item, budget)? {
                        return Ok(Val::Bool(true));
                    }
                }
                Ok(Val::Bool(false))
            }
            Val::Object(fields) => {
                let Some(key) = key(left) else {
                    return Err(self.misfit(left, right));
                };
                budget.bytes(key.len())?;
                Ok(Val::Bool(fields.get(&key).is_some()))
            }
            _ => Err(self.misfit(left, right)),
        }
    }
}

/// A key of an object: JSON's are strings, so numbers and booleans become one.
pub(super) fn key<'v>(value: &'v Val<'_>) -> Option<Cow<'v, str>> {
    match value {
        Val::Text(text) => Some(Cow::Borrowed(text)),
        Val::Int(number) => Some(Cow::Owned(number.to_string())),
        Val::Bool(value) => Some(Cow::Owned(value.to_string())),
        _ => None,
    }
}

/// An integer, if it has 64 bits.
pub(super) fn int<'a>(number: Option<i128>) -> Outcome<'a> {
    number
        .filter(|n| (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(n))
        .map(Val::Int)
        .ok_or_else(Failure::beyond_64_bits)
}

/// A number, if it is finite: JSON has no other.
pub(super) fn float<'a>(number: f64) -> Outcome<'a> {
    if number.is_finite() {
        Ok(Val::Float(number))
    } else {
        Err(Failure::not_finite())
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "where one operand has a fraction, the result is as exact as a fraction is"
)]
pub(super) fn as_float(value: &Val<'_>) -> Option<f64> {
    match value {
        Val::Int(number) => Some(*number as f64),
        Val::Float(number) => Some(*number),
        _ => None,
    }
}

/// Whether two values are the same. JSON has one kind of numbers, so 1 equals 1.0; otherwise values
/// of different kinds are never equal.
pub(super) fn equal<'a>(left: &Val<'a>, right: &Val<'a>, budget: &mut Budget) -> Outcome<'a, bool> {
    budget.charge(1)?;
    Ok(match (left, right) {
        (Val::Null, Val::Null) => true,
        (Val::List(a), Val::List(b)) => a.len() == b.len() && equal_lists(a, b, budget)?,
        (Val::Object(a), Val::Object(b)) => a.len() == b.len() && equal_objects(a, b, budget)?,
        _ => compare(left, right, budget)? == Some(Ordering::Equal),
    })
}

fn equal_lists<'a>(a: &List<'a>, b: &List<'a>, budget: &mut Budget) -> Outcome<'a, bool> {
    for (a, b) in a.iter().zip(b.iter()) {
        if !equal(&a, &b, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn equal_objects<'a>(a: &Object<'a>, b: &Object<'a>, budget: &mut Budget) -> Outcome<'a, bool> {
    // Their keys are gathered and sorted.
    budget.values(a.len().saturating_mul(2))?;
    for key in a.keys() {
        let (Some(a), Some(b)) = (a.get(key), b.get(key)) else {
            return Ok(false);
        };
        if !equal(&a, &b, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The order of two values of one ordered kind; `None` if they have none.
pub(super) fn compare<'a>(
    left: &Val<'a>,
    right: &Val<'a>,
    budget: &mut Budget,
) -> Outcome<'a, Option<Ordering>> {
    Ok(Some(match (left, right) {
        (Val::Int(a), Val::Int(b)) => a.cmp(b),
        (Val::Int(a), Val::Float(b)) => int_with_float(*a, *b),
        (Val::Float(a), Val::Int(b)) => int_with_float(*b, *a).reverse(),
        // Both are finite, so there always is an order.
        (Val::Float(a), Val::Float(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
        (Val::Text(a), Val::Text(b)) => {
            budget.bytes(a.len().min(b.len()))?;
            a.as_bytes().cmp(b.as_bytes())
        }
        (Val::Bytes(a), Val::Bytes(b)) => {
            budget.bytes(a.len().min(b.len()))?;
            a.cmp(b)
        }
        (Val::Bool(a), Val::Bool(b)) => a.cmp(b),
        (Val::Instant(a), Val::Instant(b)) | (Val::Duration(a), Val::Duration(b)) => a.cmp(b),
        _ => return Ok(None),
    }))
}

/// Exactly, also where a float cannot hold the integer.
fn int_with_float(int: i128, float: f64) -> Ordering {
    const BEYOND: f64 = 1e20;
    if float >= BEYOND {
        return Ordering::Less;
    }
    if float <= -BEYOND {
        return Ordering::Greater;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the value is whole and below 1e20"
    )]
    let whole = float.trunc() as i128;
    int.cmp(&whole).then_with(|| {
        let fraction = float - float.trunc();
        0.0.partial_cmp(&fraction).unwrap_or(Ordering::Equal)
    })
}
