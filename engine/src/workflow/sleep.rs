//! What a sleep takes: how long, and until when.

use std::time::Duration;

use afu9_schemas::Timestamp;
use afu9_schemas::definition::{MAX_DURATION, parse_duration};
use serde_json::Value;

use crate::expression::read_duration;

/// How long to sleep: milliseconds, a text like `1d12h`, or one as a duration of expressions becomes
/// in JSON, `1.5s`.
pub(crate) fn duration_of(value: &Value) -> Result<Duration, String> {
    let length = match value {
        Value::Number(number) => number
            .as_u64()
            .map(Duration::from_millis)
            .ok_or_else(|| format!("{number} is no number of milliseconds"))?,
        Value::String(text) => match (parse_duration(text), read_duration(text)) {
            (Ok(length), _) | (Err(_), Some(length)) => length,
            (Err(why), None) => return Err(why),
        },
        _ => return Err("it must be a number of milliseconds or a text like `1h30m`".to_owned()),
    };
    if length > MAX_DURATION {
        return Err("it is longer than 366 days".to_owned());
    }
    Ok(length)
}

/// Until when to sleep: RFC 3339, or milliseconds since 1970.
pub(crate) fn instant_of(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => Timestamp::parse(text),
        Value::Number(number) => {
            let millis = number.as_i64()?;
            Some(Timestamp::from_micros(millis.checked_mul(1000)?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_length_is_milliseconds_or_a_duration_of_either_kind() {
        for (value, milliseconds) in [
            (json!(1500), 1500),
            (json!("1m30s"), 90_000),
            (json!("1d"), 86_400_000),
            (json!("1.5s"), 1500),
            (json!("0.25s"), 250),
            (json!("1h30m0.5s"), 5_400_500),
        ] {
            let length = Duration::from_millis(milliseconds);
            assert_eq!(duration_of(&value), Ok(length), "{value}");
        }
        for value in [
            json!("-1s"),
            json!(-1),
            json!(1.5),
            json!("soon"),
            json!([1]),
            json!("9000h"),
        ] {
            assert!(duration_of(&value).is_err(), "{value}");
        }
    }
}
