//! The JSON inside a webhook body, whichever of the two content types GitHub was told to use.

use std::borrow::Cow;

/// The content type of bodies like `payload=%7B…`.
const FORM: &str = "application/x-www-form-urlencoded";

/// The JSON text in `body`, which was sent as `content_type`; `None` if a form has no `payload`, or
/// one that is not correctly encoded.
pub(crate) fn json_of<'a>(content_type: Option<&str>, body: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let media_type = content_type
        .and_then(|text| text.split(';').next())
        .map(str::trim);
    if !media_type.is_some_and(|media_type| media_type.eq_ignore_ascii_case(FORM)) {
        return Some(Cow::Borrowed(body));
    }
    body.split(|byte| *byte == b'&')
        .find_map(|pair| pair.strip_prefix(b"payload="))
        .and_then(decode)
        .map(Cow::Owned)
}

/// `+` is a space and `%xx` a byte.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' => decoded.push(b' '),
            b'%' => {
                let digits = after.get(..2)?;
                let mut byte = [0];
                hex::decode_to_slice(digits, &mut byte).ok()?;
                decoded.push(byte[0]);
                rest = &after[2..];
            }
            other => decoded.push(*other),
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_content_types_hold_the_same_json() {
        let json = br#"{"a": "b+c & d"}"#;
        let form = b"x=1&payload=%7B%22a%22%3A+%22b%2Bc+%26+d%22%7D";
        assert_eq!(
            json_of(Some("application/json"), json).as_deref(),
            Some(&json[..])
        );
        assert_eq!(json_of(None, json).as_deref(), Some(&json[..]));
        let content_type = Some("application/x-www-form-urlencoded; charset=utf-8");
        assert_eq!(json_of(content_type, form).as_deref(), Some(&json[..]));
    }

    #[test]
    fn a_form_without_a_readable_payload_is_nothing() {
        for bad in [&b"a=1"[..], b"payload=%7", b"payload=%zz", b"payload=abc%"] {
            assert_eq!(
                json_of(Some(FORM), bad),
                None,
                "{}",
                String::from_utf8_lossy(bad)
            );
        }
    }
}
