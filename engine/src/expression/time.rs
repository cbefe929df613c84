//! Timestamps and durations: RFC 3339, the calendar, Go's and CEL's texts for durations. There is no
//! clock in here; instants come from an execution's data.
//!
//! The calendar is the proleptic Gregorian one; the conversion between days and dates is Howard
//! Hinnant's (`days_from_civil`, `civil_from_days`), in eras of 400 years that begin in March.

use super::failure::Failure;
use super::value::Val;

pub(super) const NANOS_PER_MILLI: i128 = 1_000_000;
pub(super) const NANOS_PER_SECOND: i128 = 1_000_000_000;
const SECONDS_PER_DAY: i128 = 86_400;

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999999999Z: what RFC 3339 can write.
const MIN_INSTANT: i128 = -62_135_596_800 * NANOS_PER_SECOND;
const MAX_INSTANT: i128 = 253_402_300_800 * NANOS_PER_SECOND - 1;

/// The difference of the two: longer durations fit no timestamp.
const MAX_DURATION: i128 = MAX_INSTANT - MIN_INSTANT;

/// A timestamp, if RFC 3339 can write it.
pub(super) fn instant<'a>(nanos: Option<i128>) -> Result<Val<'a>, Failure<'a>> {
    nanos
        .filter(|nanos| (MIN_INSTANT..=MAX_INSTANT).contains(nanos))
        .map(Val::Instant)
        .ok_or_else(|| Failure::invalid("the timestamp is not within the years 1 to 9999"))
}

/// A duration, if it can lie between two timestamps.
pub(super) fn duration<'a>(nanos: Option<i128>) -> Result<Val<'a>, Failure<'a>> {
    nanos
        .filter(|nanos| (-MAX_DURATION..=MAX_DURATION).contains(nanos))
        .map(Val::Duration)
        .ok_or_else(|| Failure::invalid("the duration is longer than ten thousand years"))
}

/// A date and a time of day.
#[derive(Debug, Clone, Copy)]
pub(super) struct Civil {
    pub(super) year: i128,
    /// 1 to 12.
    pub(super) month: i128,
    /// 1 to 31.
    pub(super) day: i128,
    /// 0 is Sunday.
    pub(super) weekday: i128,
    /// 1 to 366.
    pub(super) day_of_year: i128,
    pub(super) hour: i128,
    pub(super) minute: i128,
    pub(super) second: i128,
    pub(super) nanos: i128,
}

impl Civil {
    /// What calendar and clock show `offset` seconds east of Greenwich.
    pub(super) fn of(nanos: i128, offset: i128) -> Self {
        let seconds = nanos.div_euclid(NANOS_PER_SECOND) + offset;
        let days = seconds.div_euclid(SECONDS_PER_DAY);
        let time = seconds.rem_euclid(SECONDS_PER_DAY);
        let (year, month, day) = date(days);
        Self {
            year,
            month,
            day,
            weekday: (days + 4).rem_euclid(7),
            day_of_year: days - days_before(year, 1, 1) + 1,
            hour: time / 3600,
            minute: time / 60 % 60,
            second: time % 60,
            nanos: nanos.rem_euclid(NANOS_PER_SECOND),
        }
    }
}

fn days_before(year: i128, month: i128, day: i128) -> i128 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn date(days: i128) -> (i128, i128, i128) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i128::from(month <= 2);
    (year, month, day)
}

/// Reads RFC 3339: `2026-02-03T04:05:06.789Z`, `…+02:00`.
pub(super) fn parse(text: &str) -> Option<i128> {
    let bytes = text.as_bytes();
    let number = |from: usize, size: usize| -> Option<i128> {
        let digits = bytes.get(from..from + size)?;
        digits.iter().try_fold(0_i128, |sum, digit| {
            digit
                .is_ascii_digit()
                .then(|| sum * 10 + i128::from(digit - b'0'))
        })
    };
    let sign = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|b| wanted.contains(b));
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let separated =
        sign(4, b"-") && sign(7, b"-") && sign(10, b"Tt ") && sign(13, b":") && sign(16, b":");
    let in_range = (1..=12).contains(&month) && day >= 1 && hour < 24 && minute < 60 && second < 60;
    // A day that the month does not have becomes another date.
    let days = days_before(year, month, day);
    if !separated || !in_range || date(days) != (year, month, day) {
        return None;
    }
    let mut at = 19;
    let mut fraction = 0;
    if sign(at, b".") {
        let size = bytes[at + 1..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        if !(1..=9).contains(&size) {
            return None;
        }
        let scale = 10_i128.pow(9 - u32::try_from(size).ok()?);
        fraction = number(at + 1, size)? * scale;
        at += 1 + size;
    }
    let offset = text.get(at..)?;
    let offset = if matches!(offset, "Z" | "z") {
        0
    } else {
        parse_offset(offset)?
    };
    let seconds = days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - offset;
    let nanos = seconds * NANOS_PER_SECOND + fraction;
    (MIN_INSTANT..=MAX_INSTANT)
        .contains(&nanos)
        .then_some(nanos)
}

/// Reads `+02:00` as seconds.
pub(super) fn parse_offset(text: &str) -> Option<i128> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let two_digits = |part: &str, below: i128| -> Option<i128> {
        let plain = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        let number: i128 = part.parse().ok()?;
        (plain && number < below).then_some(number)
    };
    Some(sign * (two_digits(hours, 24)? * 3600 + two_digits(minutes, 60)? * 60))
}

/// Writes RFC 3339, in UTC, with as many digits of the second as are needed.
pub(super) fn rfc3339(nanos: i128) -> String {
    let at = Civil::of(nanos, 0);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}Z",
        at.year,
        at.month,
        at.day,
        at.hour,
        at.minute,
        at.second,
        fraction(at.nanos)
    )
}

/// Writes a duration as CEL does: `5400s`, `-0.5s`.
pub(super) fn seconds(nanos: i128) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.abs();
    let fraction = fraction(nanos % NANOS_PER_SECOND);
    let fraction = fraction.trim_end_matches('0');
    format!("{sign}{}{fraction}s", nanos / NANOS_PER_SECOND)
}

/// The digits behind the second, in threes as RFC 3339 is mostly written.
fn fraction(nanos: i128) -> String {
    match nanos {
        0 => String::new(),
        _ if nanos % 1_000_000 == 0 => format!(".{:03}", nanos / 1_000_000),
        _ if nanos % 1000 == 0 => format!(".{:06}", nanos / 1000),
        _ => format!(".{nanos:09}"),
    }
}

/// The units of a duration, longer names first.
const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1000),
    ("µs", 1000),
    ("μs", 1000),
    ("ms", NANOS_PER_MILLI),
    ("s", NANOS_PER_SECOND),
    ("m", 60 * NANOS_PER_SECOND),
    ("h", 3600 * NANOS_PER_SECOND),
];

/// Reads a duration as Go and CEL write it: `1h30m`, `1.5s`, `-250ms`, `0`.
pub(super) fn parse_duration(text: &str) -> Option<i128> {
    let (sign, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) if text.starts_with('-') => (-1, rest),
        Some(rest) => (1, rest),
        None => (1, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0_i128;
    while !rest.is_empty() {
        let split = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(split);
        let (name, unit) = UNITS.iter().find(|(name, _)| after.starts_with(name))?;
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        // Eighteen digits cannot overflow, and are more than a duration may have.
        if whole.len() + part.len() == 0 || whole.len() > 18 || part.len() > 18 {
            return None;
        }
        let digits = |text: &str| -> Option<i128> {
            match text {
                "" => Some(0),
                digits => digits.parse().ok(),
            }
        };
        let scale = 10_i128.pow(u32::try_from(part.len()).ok()?);
        let nanos = digits(whole)?.checked_mul(*unit)? + digits(part)?.checked_mul(*unit)? / scale;
        total = total.checked_add(nanos)?;
        rest = &after[name.len()..];
    }
    Some(sign * total)
}

/// Writes an instant by a pattern; `Err` is the placeholder that there is not.
pub(super) fn format(nanos: i128, offset: i128, pattern: &str) -> Result<String, String> {
    let at = Civil::of(nanos, offset);
    let mut text = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let placeholder = chars.next();
        text.push_str(&match placeholder {
            Some('Y') => format!("{:04}", at.year),
            Some('m') => format!("{:02}", at.month),
            Some('d') => format!("{:02}", at.day),
            Some('H') => format!("{:02}", at.hour),
            Some('M') => format!("{:02}", at.minute),
            Some('S') => format!("{:02}", at.second),
            Some('L') => format!("{:03}", at.nanos / NANOS_PER_MILLI),
            Some('j') => format!("{:03}", at.day_of_year),
            Some('u') => (if at.weekday == 0 { 7 } else { at.weekday }).to_string(),
            Some('%') => "%".to_owned(),
            other => {
                let name: String = other.into_iter().collect();
                return Err(format!("%{name}"));
            }
        });
    }
    Ok(text)
}
