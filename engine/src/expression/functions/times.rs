//! Functions of timestamps and durations.

use super::convert::unreadable;
use super::{Call, Function};
use crate::expression::failure::Failure;
use crate::expression::operators::int;
use crate::expression::time::{self, Civil, NANOS_PER_MILLI, NANOS_PER_SECOND};
use crate::expression::value::{Kinds, Val, quoted};

const TEXT: Kinds = Kinds::TEXT;
const NUMBER: Kinds = Kinds::NUMBER;
const INSTANT: Kinds = Kinds::INSTANT;
const DURATION: Kinds = Kinds::DURATION;
/// A timestamp and, where it is not read in UTC, the offset.
const CALENDAR: &[Kinds] = &[INSTANT, TEXT];
const CLOCK: &[Kinds] = &[INSTANT.or(DURATION), TEXT];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new(
        "timestamp",
        &[TEXT.or(INSTANT).or(NUMBER)],
        INSTANT,
        timestamp,
    ),
    Function::new("duration", &[TEXT.or(DURATION)], DURATION, duration),
    Function::new("formatTime", &[INSTANT, TEXT, TEXT], TEXT, format_time)
        .required(2)
        .checks(|call, index| match index {
            1 => check_pattern(call),
            _ => offset_at_the_end(call, index),
        }),
    Function::new("millis", &[INSTANT.or(DURATION)], NUMBER, millis),
    Function::new("fromMillis", &[NUMBER], INSTANT, from_millis),
    Function::new("getFullYear", CALENDAR, NUMBER, |call| {
        civil(call, |at| at.year)
    })
    .required(1)
    .checks(offset_at_the_end),
    Function::new("getMonth", CALENDAR, NUMBER, |call| {
        civil(call, |at| at.month - 1)
    })
    .required(1)
    .checks(offset_at_the_end),
    Function::new("getDate", CALENDAR, NUMBER, |call| civil(call, |at| at.day))
        .required(1)
        .checks(offset_at_the_end),
    Function::new("getDayOfMonth", CALENDAR, NUMBER, |call| {
        civil(call, |at| at.day - 1)
    })
    .required(1)
    .checks(offset_at_the_end),
    Function::new("getDayOfWeek", CALENDAR, NUMBER, |call| {
        civil(call, |at| at.weekday)
    })
    .required(1)
    .checks(offset_at_the_end),
    Function::new("getDayOfYear", CALENDAR, NUMBER, |call| {
        civil(call, |at| at.day_of_year - 1)
    })
    .required(1)
    .checks(offset_at_the_end),
    Function::new("getHours", CLOCK, NUMBER, |call| {
        clock(call, |at| at.hour, 3600 * NANOS_PER_SECOND)
    })
    .required(1)
    .checks(offset_at_the_end),
    Function::new("getMinutes", CLOCK, NUMBER, |call| {
        clock(call, |at| at.minute, 60 * NANOS_PER_SECOND)
    })
    .required(1)
    .checks(offset_at_the_end),
    Function::new("getSeconds", CLOCK, NUMBER, |call| {
        clock(call, |at| at.second, NANOS_PER_SECOND)
    })
    .required(1)
    .checks(offset_at_the_end),
    Function::new("getMilliseconds", CLOCK, NUMBER, |call| {
        clock(call, |at| at.nanos / NANOS_PER_MILLI, NANOS_PER_MILLI)
    })
    .required(1)
    .checks(offset_at_the_end),
];

type Outcome<'a, T = Val<'a>> = Result<T, Failure<'a>>;

fn timestamp<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    match call.args.first() {
        Some(Val::Text(text)) => {
            call.budget.bytes(text.len())?;
            time::parse(text).map(Val::Instant).ok_or_else(|| {
                unreadable(
                    "a timestamp of RFC 3339, as `2026-02-03T04:05:06Z` is",
                    text,
                )
            })
        }
        Some(number @ (Val::Int(_) | Val::Float(_))) => from_number(number, NANOS_PER_SECOND),
        Some(value) => Ok(value.clone()),
        None => Ok(Val::Null),
    }
}

fn from_number<'a>(number: &Val<'a>, unit: i128) -> Outcome<'a> {
    match number {
        Val::Int(number) => time::instant(number.checked_mul(unit)),
        other => Err(Failure::Invalid(format!(
            "a timestamp is made of a whole number, not of {}",
            other.describe()
        ))),
    }
}

fn from_millis<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let number = call.args.first().cloned().unwrap_or(Val::Null);
    from_number(&number, NANOS_PER_MILLI)
}

fn duration<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    match call.args.first() {
        Some(Val::Text(text)) => {
            call.budget.bytes(text.len())?;
            let nanos = time::parse_duration(text)
                .ok_or_else(|| unreadable("a duration, as `1h30m` or `2.5s` is", text))?;
            time::duration(Some(nanos))
        }
        Some(value) => Ok(value.clone()),
        None => Ok(Val::Null),
    }
}

fn millis<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    match call.args.first() {
        Some(Val::Instant(nanos)) => int(Some(nanos.div_euclid(NANOS_PER_MILLI))),
        Some(Val::Duration(nanos)) => int(Some(nanos / NANOS_PER_MILLI)),
        _ => Ok(Val::Null),
    }
}

fn format_time<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let pattern = call.text(1);
    // A placeholder of two characters becomes at most four digits.
    call.budget.text(2 * pattern.len())?;
    call.budget.values(pattern.len() / 2)?;
    let offset = offset(call, 2)?;
    let Some(Val::Instant(nanos)) = call.args.first() else {
        return Ok(Val::Null);
    };
    formatted(*nanos, offset, &pattern)
}

fn check_pattern<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a, ()> {
    let pattern = call.text(1);
    formatted(0, 0, &pattern).map(drop)
}

fn formatted<'a>(nanos: i128, offset: i128, pattern: &str) -> Outcome<'a> {
    time::format(nanos, offset, pattern)
        .map(Val::text)
        .map_err(|placeholder| {
            Failure::Invalid(format!(
                "there is no `{placeholder}`; known are %Y %m %d %H %M %S %L %j %u and %%"
            ))
        })
}

/// That a constant offset, which is never the first argument, is one.
fn offset_at_the_end<'a>(call: &mut Call<'_, 'a>, index: usize) -> Outcome<'a, ()> {
    if index == 0 {
        return Ok(());
    }
    offset(call, index).map(drop)
}

/// The offset from UTC at argument `index`, in seconds.
fn offset<'a>(call: &mut Call<'_, 'a>, index: usize) -> Outcome<'a, i128> {
    let Some(Val::Text(text)) = call.args.get(index) else {
        return Ok(0);
    };
    call.budget.bytes(text.len())?;
    if matches!(&**text, "UTC" | "Z") {
        return Ok(0);
    }
    time::parse_offset(text).ok_or_else(|| {
        Failure::Invalid(format!(
            "\"{}\" is not an offset as `+02:00` is; names of time zones are not known, because \
             their rules change",
            quoted(text)
        ))
    })
}

fn civil<'a>(call: &mut Call<'_, 'a>, part: fn(Civil) -> i128) -> Outcome<'a> {
    let offset = offset(call, 1)?;
    match call.args.first() {
        Some(Val::Instant(nanos)) => int(Some(part(Civil::of(*nanos, offset)))),
        _ => Ok(Val::Null),
    }
}

/// Of a timestamp what the clock shows, of a duration the whole of it in that unit, as CEL has it.
fn clock<'a>(call: &mut Call<'_, 'a>, part: fn(Civil) -> i128, unit: i128) -> Outcome<'a> {
    match call.args.first() {
        Some(Val::Duration(nanos)) => int(Some(nanos / unit)),
        _ => civil(call, part),
    }
}
