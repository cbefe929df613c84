//! JSON, base64 and hashes.

use super::{FunctionDoc, doc};

const GROUP: &str = "JSON, base64, hashes";

pub(super) const FUNCTIONS: &[FunctionDoc] = &[
    doc(
        GROUP,
        ["json.encode", "json.encode(value) → string"],
        "As JSON without white space, with sorted keys.",
        [
            "json.encode({'b': [1, null], 'a': 'x'})",
            r#""{\"a\":\"x\",\"b\":[1,null]}""#,
        ],
    ),
    doc(
        GROUP,
        ["json.decode", "json.decode(string) → any"],
        "The value of a JSON text. What it holds is data, also if it looks like an expression.",
        [r#"json.decode('{"a": [1]}').a[0]"#, "1"],
    ),
    doc(
        GROUP,
        ["base64.encode", "base64.encode(string | bytes) → string"],
        "In base64, with padding.",
        ["base64.encode('hello')", r#""aGVsbG8=""#],
    ),
    doc(
        GROUP,
        ["base64.decode", "base64.decode(string) → string"],
        "The string that was encoded; white space is skipped. What is not UTF-8 is an error.",
        ["base64.decode('aGVsbG8=')", r#""hello""#],
    ),
    doc(
        GROUP,
        ["base64.decodeBytes", "base64.decodeBytes(string) → bytes"],
        "The bytes that were encoded.",
        ["size(base64.decodeBytes('/w=='))", "1"],
    ),
    doc(
        GROUP,
        ["sha256", "sha256(string | bytes) → string"],
        "SHA-256, in hexadecimal digits.",
        ["sha256('').substring(0, 8)", r#""e3b0c442""#],
    ),
];
