//! `Idempotency-Key`: the caller's own name for a request, by which its repetition is recognised:
//! whenever it comes where it starts an execution, and among the last ones where it is a wish.

use afu9_schemas::{RequestId, definition};
use http::HeaderMap;
use serde_json::Value;
use uuid::Uuid;

use super::malformed;
use crate::problem::Problem;

/// Longest key, in bytes.
const MAX_KEY_BYTES: usize = 255;

/// The name space of requests that are derived from a key.
const REQUEST_NAMESPACE: Uuid = Uuid::from_u128(0x6a1f_09a2_5c0e_7f4b_9d33_af09_0000_0002);

/// The caller's key, if there is one: 1 to 255 visible ASCII characters.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    value
        .to_str()
        .ok()
        .filter(|key| {
            (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic())
        })
        .map(Some)
        .ok_or_else(|| {
            malformed(format!(
                "Idempotency-Key must be 1 to {MAX_KEY_BYTES} visible ASCII characters"
            ))
        })
}

/// Identifies the wish `caller` expresses at `path`, and its content: the same key means the same wish
/// as long as it is remembered (by the execution, or the partition for holds: the last 64, and those of
/// the last minutes), and with another content it is refused. Without a key each wish is another one.
///
/// `content` is what the caller sent, not what came of it: `latest` is the same wish tomorrow. A reason
/// is no part of it.
pub(super) fn request(
    caller: &str,
    path: &str,
    headers: &HeaderMap,
    content: &Value,
) -> Result<(RequestId, Option<u64>), Problem> {
    let Some(key) = key(headers)? else {
        return Ok((RequestId::new(), None));
    };
    // Names of tokens and keys hold no line break: what lies between is the path.
    let name = format!("{caller}\n{path}\n{key}");
    let request = RequestId::from_uuid(Uuid::new_v5(&REQUEST_NAMESPACE, name.as_bytes()));
    let content = definition::hash(content).to_string();
    let (content, _) = Uuid::new_v5(&REQUEST_NAMESPACE, content.as_bytes()).as_u64_pair();
    Ok((request, Some(content)))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn with(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(
            "idempotency-key",
            HeaderValue::from_str(value).expect("a header"),
        );
        headers
    }

    #[test]
    fn keys_are_visible_and_bounded() {
        let read = |value: &str| key(&with(value)).map(|key| key.map(str::to_owned)).ok();
        assert_eq!(read("a:b/c"), Some(Some("a:b/c".to_owned())));
        for bad in ["", "a b", &"x".repeat(256)] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert!(matches!(key(&HeaderMap::new()), Ok(None)));
    }

    #[test]
    fn a_wish_is_the_same_for_the_same_caller_path_and_key() {
        let content = serde_json::json!({"step": "a"});
        let sent = |caller, path, key: &str| request(caller, path, &with(key), &content);
        let wish = |caller, path, key: &str| sent(caller, path, key).expect("valid");
        let first = wish("ada", "/a/pause", "k");
        assert_eq!(first, wish("ada", "/a/pause", "k"));
        for other in [
            wish("bob", "/a/pause", "k"),
            wish("ada", "/b/pause", "k"),
            wish("ada", "/a/pause", "l"),
        ] {
            assert_ne!(first.0, other.0);
            assert_eq!(first.1, other.1);
        }
        let (same, other) =
            request("ada", "/a/pause", &with("k"), &Value::Null).expect("another content");
        assert_eq!(same, first.0);
        assert_ne!(other, first.1);
        let none = HeaderMap::new();
        let anew = || request("ada", "/a/pause", &none, &content).expect("valid");
        assert_ne!(anew().0, anew().0);
    }
}
