//! Functions of numbers.

use super::{Call, Function};
use crate::expression::failure::Failure;
use crate::expression::operators::{as_float, float, int};
use crate::expression::value::{Kinds, Val};

const NUMBER: Kinds = Kinds::NUMBER;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("abs", &[NUMBER], NUMBER, abs),
    Function::new("round", &[NUMBER, NUMBER], NUMBER, round)
        .required(1)
        .counts(),
    Function::new("floor", &[NUMBER], NUMBER, floor),
    Function::new("ceil", &[NUMBER], NUMBER, ceil),
];

type Outcome<'a> = Result<Val<'a>, Failure<'a>>;

/// More digits than this a float does not have.
const MAX_DIGITS: usize = 15;

fn abs<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    match call.args.first() {
        Some(Val::Int(number)) => int(number.checked_abs()),
        Some(Val::Float(number)) => float(number.abs()),
        _ => Ok(Val::Null),
    }
}

fn round<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let digits = call.count(1)?.unwrap_or(0).min(MAX_DIGITS);
    let Some(Val::Float(number)) = call.args.first() else {
        return Ok(call.args.first().cloned().unwrap_or(Val::Null));
    };
    if digits == 0 {
        return whole(number.round());
    }
    // By way of its decimal text: scaling by powers of ten is inexact.
    let rounded = format!("{number:.digits$}").parse().unwrap_or(*number);
    float(rounded)
}

fn floor<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    to_whole(call, f64::floor)
}

fn ceil<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    to_whole(call, f64::ceil)
}

fn to_whole<'a>(call: &mut Call<'_, 'a>, by: fn(f64) -> f64) -> Outcome<'a> {
    match call.args.first() {
        Some(Val::Int(number)) => Ok(Val::Int(*number)),
        Some(number) => whole(by(as_float(number).unwrap_or_default())),
        None => Ok(Val::Null),
    }
}

/// An integer of a float without a fraction.
pub(super) fn whole<'a>(number: f64) -> Outcome<'a> {
    const BEYOND: f64 = 1e20;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what is beyond 64 bits is refused, below 1e20 nothing is cut off"
    )]
    let number = (number.abs() < BEYOND).then_some(number as i128);
    int(number)
}
