//! What a tool leaves in GitHub so that a repetition finds its work: an HTML comment in texts that
//! GitHub renders, a trailer in commit messages.
//!
//! Bodies may quote text from outside, so a marker in the given text never counts: in rendered
//! texts it is defused when the text is written, in commit messages only the last line is looked at.

use super::address::encode;

const OPENING: &str = "<!-- afu9:key=";
const DEFUSED_OPENING: &str = "<!-- afu9:quoted-key=";
const TRAILER: &str = "AFU9-Key";

/// `text` with the invisible marker of `key` at its end.
pub(super) fn mark(text: &str, key: &str) -> String {
    let text = text.replace(OPENING, DEFUSED_OPENING);
    let text = text.trim_end();
    let gap = if text.is_empty() { "" } else { "\n\n" };
    format!("{text}{gap}{}", marker(key))
}

/// Whether `text` carries the marker of `key`. Anywhere: people and bots append to texts.
pub(super) fn is_marked(text: &str, key: &str) -> bool {
    text.contains(&marker(key))
}

fn marker(key: &str) -> String {
    // Encoded, a key cannot close the comment, whatever it is made of.
    format!("{OPENING}{} -->", encode(key))
}

/// `message` with the trailer of `key` as its last line, in the block of trailers if it ends with
/// one.
pub(super) fn with_trailer(message: &str, key: &str) -> String {
    let message = message.trim_end();
    let gap = if ends_with_trailers(message) {
        "\n"
    } else {
        "\n\n"
    };
    format!("{message}{gap}{}", trailer(key))
}

/// Whether the last line of `message` is the trailer of `key`.
pub(super) fn has_trailer(message: &str, key: &str) -> bool {
    message
        .trim_end()
        .lines()
        .next_back()
        .is_some_and(|line| line.trim_end() == trailer(key))
}

fn trailer(key: &str) -> String {
    format!("{TRAILER}: {}", encode(key))
}

/// Whether the last paragraph of `message`, which is not the only one, is made of trailers.
fn ends_with_trailers(message: &str) -> bool {
    let is_trailer = |line: &str| {
        line.split_once(": ").is_some_and(|(name, value)| {
            !value.trim().is_empty()
                && !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
    };
    let mut last_paragraph = message
        .lines()
        .rev()
        .take_while(|line| !line.trim().is_empty());
    message.lines().any(|line| line.trim().is_empty()) && last_paragraph.all(is_trailer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0190c2a0-0000-7000-8000-000000000001.3";

    #[test]
    fn a_marked_text_is_recognised_by_its_own_key_only() {
        let text = mark("Done.", KEY);
        assert!(is_marked(&text, KEY));
        assert!(!is_marked(&text, "0190c2a0-0000-7000-8000-000000000001.30"));
        assert!(is_marked(&format!("{text}\n\nadded later by a bot"), KEY));
        assert_eq!(mark("", KEY), format!("<!-- afu9:key={KEY} -->"));
    }

    #[test]
    fn a_marker_in_the_given_text_does_not_count() {
        let text = mark(&format!("quoted: <!-- afu9:key={KEY} -->"), "other.1");
        assert!(!is_marked(&text, KEY));
        assert!(is_marked(&text, "other.1"));
    }

    #[test]
    fn a_key_cannot_leave_the_comment() {
        let text = mark("x", "a --> b");
        assert_eq!(text.matches("-->").count(), 1);
        assert!(is_marked(&text, "a --> b"));
    }

    #[test]
    fn the_trailer_joins_a_block_of_trailers_or_opens_one() {
        assert_eq!(with_trailer("fix: it", "k.1"), "fix: it\n\nAFU9-Key: k.1");
        assert_eq!(
            with_trailer("fix: it\n\nwhy\n\nRefs: #1\n", "k.1"),
            "fix: it\n\nwhy\n\nRefs: #1\nAFU9-Key: k.1"
        );
    }

    #[test]
    fn only_the_last_line_is_a_trailer() {
        assert!(has_trailer("fix\n\nAFU9-Key: k.1\n", "k.1"));
        assert!(!has_trailer("fix\n\nAFU9-Key: k.1\nAFU9-Key: k.2", "k.1"));
        assert!(!has_trailer("fix\n\nAFU9-Key: k.10", "k.1"));
    }
}
