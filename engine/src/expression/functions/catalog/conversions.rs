//! From one kind to another.

use super::{FunctionDoc, doc};

const GROUP: &str = "Conversions";

pub(super) const FUNCTIONS: &[FunctionDoc] = &[
    doc(
        GROUP,
        ["type", "type(value) → string"],
        "`null`, `boolean`, `number`, `string`, `list`, `object`, `bytes`, `timestamp` or `duration`.",
        ["type(issue.labels)", r#""list""#],
    ),
    doc(
        GROUP,
        ["string", "string(value) → string"],
        "A number, boolean, timestamp or duration as it is written; bytes as UTF-8.",
        ["string(issue.number) + '/2'", r#""42/2""#],
    ),
    doc(
        GROUP,
        ["int", "int(number | string | timestamp) → number"],
        "An integer: cut off behind the point, read from a string, or the seconds since 1970.",
        ["int('42')", "42"],
    ),
    doc(
        GROUP,
        ["uint", "uint(number | string) → number"],
        "Like `int`, and not below zero.",
        ["uint(2.9)", "2"],
    ),
    doc(
        GROUP,
        ["double", "double(number | string) → number"],
        "A number with a fraction.",
        ["double('0.5')", "0.5"],
    ),
    doc(
        GROUP,
        ["bool", "bool(string) → boolean"],
        "Read from `true`, `false`, `1`, `0` and the like.",
        ["bool('true')", "true"],
    ),
    doc(
        GROUP,
        ["bytes", "bytes(string) → bytes"],
        "The bytes of a string in UTF-8. In JSON, bytes are base64.",
        ["size(bytes('ä'))", "2"],
    ),
    doc(
        GROUP,
        ["dyn", "dyn(value) → any"],
        "The value; there for CEL written elsewhere.",
        ["dyn(1)", "1"],
    ),
];
