//! Numbers.

use super::{FunctionDoc, doc};

const GROUP: &str = "Numbers";

pub(super) const FUNCTIONS: &[FunctionDoc] = &[
    doc(
        GROUP,
        ["min", "min(list) or min(a, b, …) → any"],
        "The smallest of numbers, strings, timestamps or durations.",
        ["min([3, 1.5])", "1.5"],
    ),
    doc(
        GROUP,
        ["max", "max(list) or max(a, b, …) → any"],
        "The largest of numbers, strings, timestamps or durations.",
        ["max(input.n, 10)", "10"],
    ),
    doc(
        GROUP,
        ["sum", "sum(list) → number or duration"],
        "All numbers, or all durations, added up; 0 if there is none.",
        ["sum([1, 2, 3.5])", "6.5"],
    ),
    doc(
        GROUP,
        ["abs", "abs(number) → number"],
        "Without its sign.",
        ["abs(-3)", "3"],
    ),
    doc(
        GROUP,
        ["round", "round(number[, digits]) → number"],
        "Rounded half away from zero to an integer, or to so many digits behind the point.",
        ["round(2.345, 1)", "2.3"],
    ),
    doc(
        GROUP,
        ["floor", "floor(number) → number"],
        "The largest integer that is not above it.",
        ["floor(-1.5)", "-2"],
    ),
    doc(
        GROUP,
        ["ceil", "ceil(number) → number"],
        "The smallest integer that is not below it.",
        ["ceil(1.2)", "2"],
    ),
];
