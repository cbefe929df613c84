//! From one kind to another.

use std::rc::Rc;

use super::number::whole;
use super::{Call, Function};
use crate::expression::failure::Failure;
use crate::expression::operators::{as_float, float, int};
use crate::expression::time;
use crate::expression::value::{Kinds, Val, quoted};

const NUMBER: Kinds = Kinds::NUMBER;
const TEXT: Kinds = Kinds::TEXT;
const SCALAR: Kinds = NUMBER
    .or(TEXT)
    .or(Kinds::BOOL)
    .or(Kinds::BYTES)
    .or(Kinds::INSTANT)
    .or(Kinds::DURATION);

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("type", &[Kinds::ANY], TEXT, type_of),
    Function::new("string", &[SCALAR], TEXT, string),
    Function::new("int", &[NUMBER.or(TEXT).or(Kinds::INSTANT)], NUMBER, to_int),
    Function::new("uint", &[NUMBER.or(TEXT)], NUMBER, to_uint),
    Function::new("double", &[NUMBER.or(TEXT)], NUMBER, to_double),
    Function::new("bool", &[Kinds::BOOL.or(TEXT)], Kinds::BOOL, to_bool),
    Function::new("bytes", &[TEXT.or(Kinds::BYTES)], Kinds::BYTES, to_bytes),
    Function::new("dyn", &[Kinds::ANY], Kinds::ANY, to_dyn),
];

type Outcome<'a> = Result<Val<'a>, Failure<'a>>;

fn type_of<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let kind = call.args.first().map_or(Kinds::NULL, Val::kind);
    Ok(Val::text(kind.name()))
}

fn string<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    match call.args.first() {
        Some(Val::Bytes(bytes)) => {
            call.budget.text(bytes.len())?;
            let text = std::str::from_utf8(bytes);
            text.map(Val::text)
                .map_err(|_| Failure::invalid("these bytes are not UTF-8"))
        }
        Some(text @ Val::Text(_)) => Ok(text.clone()),
        // As it stands in a longer text: its JSON form.
        Some(value) => Ok(match value.to_json(call.budget)? {
            serde_json::Value::String(text) => Val::text(text),
            other => Val::text(other.to_string()),
        }),
        None => Ok(Val::Null),
    }
}

fn to_int<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    match call.args.first() {
        Some(Val::Int(number)) => Ok(Val::Int(*number)),
        Some(Val::Float(number)) => whole(number.trunc()),
        Some(Val::Instant(nanos)) => Ok(Val::Int(nanos.div_euclid(time::NANOS_PER_SECOND))),
        Some(Val::Text(text)) => {
            call.budget.bytes(text.len())?;
            match text.parse() {
                Ok(number) => int(Some(number)),
                Err(_) => Err(unreadable("an integer", text)),
            }
        }
        _ => Ok(Val::Null),
    }
}

fn to_uint<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    match to_int(call)? {
        Val::Int(number) if number < 0 => Err(Failure::invalid(format!("{number} is below zero"))),
        number => Ok(number),
    }
}

fn to_double<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    match call.args.first() {
        Some(Val::Text(text)) => {
            call.budget.bytes(text.len())?;
            match text.parse() {
                Ok(number) => float(number),
                Err(_) => Err(unreadable("a number", text)),
            }
        }
        Some(number) => float(as_float(number).unwrap_or_default()),
        None => Ok(Val::Null),
    }
}

fn to_bool<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    match call.args.first() {
        Some(Val::Text(text)) => match &**text {
            "true" | "True" | "TRUE" | "t" | "1" => Ok(Val::Bool(true)),
            "false" | "False" | "FALSE" | "f" | "0" => Ok(Val::Bool(false)),
            text => Err(unreadable("a boolean", text)),
        },
        Some(value) => Ok(value.clone()),
        None => Ok(Val::Null),
    }
}

fn to_bytes<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    match call.args.first() {
        Some(Val::Text(text)) => {
            call.budget.text(text.len())?;
            Ok(Val::Bytes(Rc::from(text.as_bytes())))
        }
        Some(value) => Ok(value.clone()),
        None => Ok(Val::Null),
    }
}

fn to_dyn<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    Ok(call.args.first().cloned().unwrap_or(Val::Null))
}

/// A text that was to be read as something else.
pub(super) fn unreadable<'a>(wanted: &str, text: &str) -> Failure<'a> {
    Failure::Invalid(format!("\"{}\" is not {wanted}", quoted(text)))
}
