//! Timestamps and durations.

use super::{FunctionDoc, doc};

const GROUP: &str = "Time";

pub(super) const FUNCTIONS: &[FunctionDoc] = &[
    doc(
        GROUP,
        ["timestamp", "timestamp(string | number) → timestamp"],
        "Read from RFC 3339, or from seconds since 1970. Timestamps can be compared and subtracted, \
         and durations added; in JSON they are RFC 3339 in UTC.",
        [
            "timestamp('2026-02-03T04:05:06+01:00')",
            r#""2026-02-03T03:05:06Z""#,
        ],
    ),
    doc(
        GROUP,
        ["duration", "duration(string) → duration"],
        "Read from hours, minutes, seconds, `ms`, `us` and `ns`, as in `1h30m`. In JSON it is in seconds.",
        ["duration('1h30m')", r#""5400s""#],
    ),
    doc(
        GROUP,
        [
            "formatTime",
            "formatTime(timestamp, pattern[, offset]) → string",
        ],
        "By %Y %m %d %H %M %S, %L (milliseconds), %j (day of the year), %u (weekday, Monday is 1) \
         and %%, in UTC or at an offset as `+02:00`.",
        [
            "timestamp('2026-02-03T04:05:06Z').formatTime('%Y-%m-%d %H:%M', '+02:00')",
            r#""2026-02-03 06:05""#,
        ],
    ),
    doc(
        GROUP,
        ["millis", "millis(timestamp | duration) → number"],
        "Milliseconds since 1970, or of a duration.",
        ["millis(duration('1.5s'))", "1500"],
    ),
    doc(
        GROUP,
        ["fromMillis", "fromMillis(number) → timestamp"],
        "The timestamp so many milliseconds after 1970 began.",
        ["fromMillis(86400000)", r#""1970-01-02T00:00:00Z""#],
    ),
    doc(
        GROUP,
        ["getFullYear", "getFullYear(timestamp[, offset]) → number"],
        "The year.",
        ["timestamp('2026-02-03T04:05:06Z').getFullYear()", "2026"],
    ),
    doc(
        GROUP,
        ["getMonth", "getMonth(timestamp[, offset]) → number"],
        "The month; January is 0, as CEL has it.",
        ["timestamp('2026-02-03T04:05:06Z').getMonth()", "1"],
    ),
    doc(
        GROUP,
        ["getDate", "getDate(timestamp[, offset]) → number"],
        "The day of the month, from 1.",
        ["timestamp('2026-02-03T04:05:06Z').getDate()", "3"],
    ),
    doc(
        GROUP,
        [
            "getDayOfMonth",
            "getDayOfMonth(timestamp[, offset]) → number",
        ],
        "The day of the month, from 0.",
        ["timestamp('2026-02-03T04:05:06Z').getDayOfMonth()", "2"],
    ),
    doc(
        GROUP,
        ["getDayOfWeek", "getDayOfWeek(timestamp[, offset]) → number"],
        "The day of the week; Sunday is 0.",
        ["timestamp('2026-02-03T04:05:06Z').getDayOfWeek()", "2"],
    ),
    doc(
        GROUP,
        ["getDayOfYear", "getDayOfYear(timestamp[, offset]) → number"],
        "The day of the year, from 0.",
        ["timestamp('2026-02-03T04:05:06Z').getDayOfYear()", "33"],
    ),
    doc(
        GROUP,
        [
            "getHours",
            "getHours(timestamp[, offset] | duration) → number",
        ],
        "The hour of the day, or the whole hours of a duration.",
        ["duration('90m').getHours()", "1"],
    ),
    doc(
        GROUP,
        [
            "getMinutes",
            "getMinutes(timestamp[, offset] | duration) → number",
        ],
        "The minute of the hour, or the whole minutes of a duration.",
        ["duration('90m').getMinutes()", "90"],
    ),
    doc(
        GROUP,
        [
            "getSeconds",
            "getSeconds(timestamp[, offset] | duration) → number",
        ],
        "The second of the minute, or the whole seconds of a duration.",
        ["timestamp('2026-02-03T04:05:06Z').getSeconds()", "6"],
    ),
    doc(
        GROUP,
        [
            "getMilliseconds",
            "getMilliseconds(timestamp[, offset] | duration) → number",
        ],
        "The millisecond of the second, or the whole milliseconds of a duration.",
        [
            "timestamp('2026-02-03T04:05:06.789Z').getMilliseconds()",
            "789",
        ],
    ),
];
