//! Strings.

use super::{FunctionDoc, doc};

const GROUP: &str = "Strings";

pub(super) const FUNCTIONS: &[FunctionDoc] = &[
    doc(
        GROUP,
        ["size", "size(string | list | object | bytes) → number"],
        "Characters of a string, items of a list, fields of an object, or bytes.",
        ["size('Größe')", "5"],
    ),
    doc(
        GROUP,
        ["lower", "lower(string) → string"],
        "In lower case.",
        ["lower('Fix ME')", r#""fix me""#],
    ),
    doc(
        GROUP,
        ["upper", "upper(string) → string"],
        "In upper case.",
        ["upper('ok')", r#""OK""#],
    ),
    doc(
        GROUP,
        ["trim", "trim(string) → string"],
        "Without white space at both ends.",
        ["trim('  a b ')", r#""a b""#],
    ),
    doc(
        GROUP,
        ["contains", "contains(string, part) → boolean"],
        "Whether a string holds another one.",
        ["issue.title.contains('login')", "true"],
    ),
    doc(
        GROUP,
        ["startsWith", "startsWith(string, part) → boolean"],
        "Whether a string begins with another one.",
        ["'release/1.2'.startsWith('release/')", "true"],
    ),
    doc(
        GROUP,
        ["endsWith", "endsWith(string, part) → boolean"],
        "Whether a string ends with another one.",
        ["'main.rs'.endsWith('.rs')", "true"],
    ),
    doc(
        GROUP,
        ["matches", "matches(string, pattern) → boolean"],
        "Whether a regular expression is found anywhere in a string; in the syntax of Rust's crate \
         `regex`, which is nearly RE2's.",
        ["'v1.2.3'.matches('^v[0-9.]+$')", "true"],
    ),
    doc(
        GROUP,
        ["extract", "extract(string, pattern) → string or null"],
        "What the first group of a regular expression, or all of it if it has none, first finds in \
         a string; null if it finds nothing.",
        ["extract('Closes #42', '#([0-9]+)')", r#""42""#],
    ),
    doc(
        GROUP,
        ["indexOf", "indexOf(string, part) → number"],
        "The position at which another string first begins, counted from 0, or -1.",
        ["indexOf('a/b/c', '/')", "1"],
    ),
    doc(
        GROUP,
        ["lastIndexOf", "lastIndexOf(string, part) → number"],
        "The position at which another string last begins, counted from 0, or -1.",
        ["lastIndexOf('a/b/c', '/')", "3"],
    ),
    doc(
        GROUP,
        ["substring", "substring(string, start[, end]) → string"],
        "The characters from position start up to, but without, position end; positions behind the \
         end mean the end.",
        ["substring('abcdef', 2, 4)", r#""cd""#],
    ),
    doc(
        GROUP,
        ["truncate", "truncate(string, length[, ending]) → string"],
        "At most so many characters; what is cut off is replaced by the ending, which counts.",
        ["truncate('a long title', 7, '…')", r#""a long…""#],
    ),
    doc(
        GROUP,
        ["replace", "replace(string, from, to[, times]) → string"],
        "With another string in place of each occurrence of a string, or of the first few.",
        ["replace('a.b.c', '.', '/')", r#""a/b/c""#],
    ),
    doc(
        GROUP,
        ["split", "split(string, separator[, most]) → list"],
        "The parts between separators; at most so many, the last of which holds the rest.",
        ["split('a,b,c', ',', 2)", r#"["a","b,c"]"#],
    ),
    doc(
        GROUP,
        ["join", "join(list[, separator]) → string"],
        "The strings of a list as one.",
        ["join(['a', 'b'], ', ')", r#""a, b""#],
    ),
    doc(
        GROUP,
        ["padStart", "padStart(string, length[, with]) → string"],
        "Filled at the beginning to so many characters, with spaces if nothing else is named.",
        ["padStart(string(7), 3, '0')", r#""007""#],
    ),
    doc(
        GROUP,
        ["padEnd", "padEnd(string, length[, with]) → string"],
        "Filled at the end to so many characters.",
        ["padEnd('ab', 4, '.')", r#""ab..""#],
    ),
    doc(
        GROUP,
        ["slug", "slug(string[, longest]) → string"],
        "Lower-case letters, digits and single dashes, for names of branches; at most 50 characters \
         if nothing else is named. Nothing may be left.",
        ["slug(issue.title)", r#""fix-login-fails""#],
    ),
];
