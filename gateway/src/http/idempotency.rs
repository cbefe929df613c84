//! `Idempotency-Key`: the caller's own name for a request, by which its repetition is recognised,
//! whenever it comes.

use afu9_schemas::RequestId;
use http::HeaderMap;
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

/// Identifies the wish `caller` expresses at `path`: the same key means the same wish, for ever;
/// without a key each wish is another one.
pub(super) fn request(caller: &str, path: &str, headers: &HeaderMap) -> Result<RequestId, Problem> {
    Ok(match key(headers)? {
        None => RequestId::new(),
        // Names of tokens and keys hold no line break: what lies between is the path.
        Some(key) => {
            let name = format!("{caller}\n{path}\n{key}");
            RequestId::from_uuid(Uuid::new_v5(&REQUEST_NAMESPACE, name.as_bytes()))
        }
    })
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
        let wish = |caller, path, key: &str| request(caller, path, &with(key)).expect("valid");
        let first = wish("ada", "/a/pause", "k");
        assert_eq!(first, wish("ada", "/a/pause", "k"));
        for other in [
            wish("bob", "/a/pause", "k"),
            wish("ada", "/b/pause", "k"),
            wish("ada", "/a/pause", "l"),
        ] {
            assert_ne!(first, other);
        }
        let none = HeaderMap::new();
        let anew = || request("ada", "/a/pause", &none).expect("valid");
        assert_ne!(anew(), anew());
    }
}
