//! Durations as people write them: `90s`, `1d12h30m`.

use std::time::Duration;

use super::MAX_DURATION;

/// The units, longest first, with their milliseconds.
const UNITS: [(&str, u64); 6] = [
    ("w", 7 * 24 * 3600 * 1000),
    ("d", 24 * 3600 * 1000),
    ("h", 3600 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

/// What a duration looks like, as a regular expression.
pub(super) const PATTERN: &str =
    "^(?=[0-9])([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";

/// Reads a duration: whole numbers with the units `w`, `d`, `h`, `m`, `s`, `ms`, each at most once
/// and the longer ones first, without spaces.
///
/// # Errors
/// What is wrong with `text`, and what would be right. A duration above [`MAX_DURATION`] is wrong.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        // The text can come from outside: only its beginning is quoted.
        let start: String = text.chars().take(80).collect();
        format!(
            "`{start}` is not a duration; write whole numbers with the units w, d, h, m, s, ms, \
             longer ones first, like `1d12h` or `90s`"
        )
    };
    if text.is_empty() {
        return Err(wrong());
    }
    let mut rest = text;
    let mut shorter = UNITS.as_slice();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = rest.split_at(digits);
        let letters = behind.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, behind) = behind.split_at(letters);
        let at = shorter
            .iter()
            .position(|(name, _)| *name == unit)
            .filter(|_| digits > 0)
            .ok_or_else(wrong)?;
        // A number too large for the type is too long a time, whatever its unit.
        let milliseconds = number.parse::<u64>().unwrap_or(u64::MAX);
        total = total.saturating_add(milliseconds.saturating_mul(shorter[at].1));
        shorter = &shorter[at + 1..];
        rest = behind;
    }
    let duration = Duration::from_millis(total);
    if duration > MAX_DURATION {
        return Err(format!(
            "the duration is longer than {} days",
            MAX_DURATION.as_secs() / (24 * 3600)
        ));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_by_their_units() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("250ms", 250),
            ("90s", 90_000),
            ("1m", 60_000),
            ("1m5ms", 60_005),
            ("1d12h30m", 131_400_000),
            ("1w2d3h4m5s6ms", 788_645_006),
            ("007s", 7000),
            ("366d", 31_622_400_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "1.5h",
            "1 d",
            "1h ",
            " 1h",
            "1H",
            "1h1h",
            "1m1h",
            "1ms1s",
            "1y",
            "1d12",
            "P1D",
            "1h,30m",
            "367d",
            "1µs",
            "99999999999999999999ms",
            "٣s",
            "+1s",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
