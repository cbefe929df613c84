//! JSON, base64 and hashes.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Call, Function};
use crate::expression::budget::within_text;
use crate::expression::failure::Failure;
use crate::expression::limits::DECODED_BYTES_PER_UNIT;
use crate::expression::value::{Kinds, Val, charge_data};

const TEXT: Kinds = Kinds::TEXT;
const OCTETS: Kinds = Kinds::TEXT.or(Kinds::BYTES);

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("json.encode", &[Kinds::ANY], TEXT, json_encode),
    Function::new("json.decode", &[TEXT], Kinds::DATA, json_decode),
    Function::new("base64.encode", &[OCTETS], TEXT, base64_encode),
    Function::new("base64.decode", &[TEXT], TEXT, base64_decode),
    Function::new(
        "base64.decodeBytes",
        &[TEXT],
        Kinds::BYTES,
        base64_decode_bytes,
    ),
    Function::new("sha256", &[OCTETS], TEXT, sha256),
];

type Outcome<'a, T = Val<'a>> = Result<T, Failure<'a>>;

fn json_encode<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let Some(value) = call.args.first() else {
        return Ok(Val::Null);
    };
    let mut json = value.to_json(call.budget)?;
    // One order, so that equal values have equal texts: this is what hashes are made of.
    sort_keys(&mut json);
    within_text(size_at_least(&json))?;
    let text = json.to_string();
    // Twice: it was written, and is copied.
    call.budget.text(text.len())?;
    call.budget.bytes(text.len())?;
    Ok(Val::text(text))
}

fn sort_keys(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(sort_keys),
        Value::Object(fields) => {
            fields.sort_keys();
            fields.values_mut().for_each(sort_keys);
        }
        _ => {}
    }
}

/// What the strings in `value` have in bytes: too large a text shall not be built at all.
fn size_at_least(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size_at_least).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, field)| name.len() + size_at_least(field))
            .sum(),
        _ => 1,
    }
}

fn json_decode<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let text = call.text(0);
    within_text(text.len())?;
    call.budget
        .values(1 + text.len() / DECODED_BYTES_PER_UNIT)?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::Invalid(format!("this string is not JSON: {error}")))?;
    charge_data(&value, 0, call.budget)?;
    Ok(Val::owned(value))
}

fn octets<'c>(call: &'c Call<'_, '_>) -> &'c [u8] {
    match call.args.first() {
        Some(Val::Text(text)) => text.as_bytes(),
        Some(Val::Bytes(bytes)) => bytes,
        _ => &[],
    }
}

fn base64_encode<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let length = octets(call).len();
    call.budget.text(length.div_ceil(3).saturating_mul(4))?;
    Ok(Val::text(STANDARD.encode(octets(call))))
}

fn base64_decode<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    let bytes = decoded(call)?;
    String::from_utf8(bytes).map(Val::text).map_err(|_| {
        Failure::invalid("what was encoded is not UTF-8; `base64.decodeBytes` yields its bytes")
    })
}

fn base64_decode_bytes<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    Ok(Val::Bytes(Rc::from(decoded(call)?)))
}

/// GitHub and others break base64 into lines, so white space in it counts for nothing.
fn decoded<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a, Vec<u8>> {
    let text = call.text(0);
    call.budget.text(text.len())?;
    let dense: String = text.split_ascii_whitespace().collect();
    let decoded = STANDARD.decode(dense);
    decoded.map_err(|error| Failure::Invalid(format!("this string is not base64: {error}")))
}

fn sha256<'a>(call: &mut Call<'_, 'a>) -> Outcome<'a> {
    // Hashing takes several times as long as copying.
    let length = octets(call).len();
    call.budget.bytes(length.saturating_mul(4))?;
    Ok(Val::text(hex::encode(Sha256::digest(octets(call)))))
}
