//! W3C trace context from a request: taken over if it is valid, left out otherwise.

use http::HeaderMap;

/// The trace context of a request, if it has a valid one.
pub(crate) fn of(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    is_valid(text).then(|| text.to_owned())
}

/// <https://www.w3.org/TR/trace-context/#traceparent-header>, version 00.
fn is_valid(text: &str) -> bool {
    let mut parts = text.split('-');
    let mut hex = |length: usize| {
        parts.next().filter(|part| {
            part.len() == length
                && part
                    .bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        })
    };
    let (version, trace, span, flags) = (hex(2), hex(32), hex(16), hex(2));
    let not_zero = |part: &str| part.bytes().any(|b| b != b'0');
    version == Some("00")
        && trace.is_some_and(not_zero)
        && span.is_some_and(not_zero)
        && flags.is_some()
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn only_valid_trace_contexts_are_taken_over() {
        assert!(is_valid(
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        ));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
