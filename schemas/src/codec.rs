//! The wire format: one version byte, then MessagePack with named fields.
//!
//! Named fields cost a few bytes and buy the upgrade rule: a reader ignores fields it does not know
//! and defaults fields it does not find, so old and new processes run side by side. The version
//! byte changes only when that rule is not enough; a reader refuses a version it does not know and
//! leaves the message where it is, for a newer process.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// The version this build writes.
pub const WIRE_VERSION: u8 = 2;

/// The oldest version this build reads: what it wrote lies in streams and backups.
const OLDEST_VERSION: u8 = 1;

/// Why a message could not be read.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// There is nothing, not even a version.
    #[error("message is empty")]
    Empty,
    /// Written by a newer AFU-9. Do not drop it: a newer process can read it.
    #[error("message has wire version {found}, this build reads up to {WIRE_VERSION}")]
    UnsupportedVersion {
        /// The version byte found.
        found: u8,
    },
    /// It names a variant that this build does not know: written by a newer AFU-9 too.
    #[error("message is a {expected} of a newer version")]
    UnknownVariant {
        /// The Rust type that was expected.
        expected: &'static str,
        /// What the MessagePack reader said.
        #[source]
        source: rmp_serde::decode::Error,
    },
    /// Not MessagePack, or not the expected message.
    #[error("message is not a valid {expected}")]
    Malformed {
        /// The Rust type that was expected.
        expected: &'static str,
        /// What the MessagePack reader said.
        #[source]
        source: rmp_serde::decode::Error,
    },
}

impl DecodeError {
    /// Whether a newer process may be able to read the message, so that it must be left in place.
    pub fn is_from_the_future(&self) -> bool {
        matches!(
            self,
            Self::UnsupportedVersion { .. } | Self::UnknownVariant { .. }
        )
    }
}

/// Why a message could not be written; only a value that MessagePack cannot hold gets here.
#[derive(Debug, Error)]
#[error("cannot encode {what}")]
pub struct EncodeError {
    what: &'static str,
    #[source]
    source: rmp_serde::encode::Error,
}

/// Encodes `message` with the current wire version.
///
/// # Errors
/// Only if `T` holds something MessagePack cannot express; none of the messages here does.
pub fn encode<T: Serialize>(message: &T) -> Result<Bytes, EncodeError> {
    // Most messages are a few hundred bytes: one allocation serves them.
    let mut buffer = Vec::with_capacity(256);
    buffer.push(WIRE_VERSION);
    rmp_serde::encode::write_named(&mut buffer, message).map_err(|source| EncodeError {
        what: std::any::type_name::<T>(),
        source,
    })?;
    Ok(Bytes::from(buffer))
}

/// Decodes a message written by [`encode`], by this or an older version.
///
/// # Errors
/// See [`DecodeError`]; `UnsupportedVersion` must leave the message in place, the others are dead
/// letters.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (version, body) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if !(OLDEST_VERSION..=WIRE_VERSION).contains(version) {
        return Err(DecodeError::UnsupportedVersion { found: *version });
    }
    rmp_serde::from_slice(body).map_err(|source| {
        let expected = std::any::type_name::<T>();
        if is_unknown_variant(&source) {
            DecodeError::UnknownVariant { expected, source }
        } else {
            DecodeError::Malformed { expected, source }
        }
    })
}

/// Fields can be ignored and defaulted, variants cannot: who does not know one must leave it to who does.
fn is_unknown_variant(error: &rmp_serde::decode::Error) -> bool {
    // Serde's own words, which it gives in place of a kind.
    matches!(error, rmp_serde::decode::Error::Syntax(words) if words.starts_with("unknown variant"))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Old {
        name: String,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct New {
        name: String,
        #[serde(default)]
        added: Option<u32>,
    }

    #[test]
    fn old_and_new_read_each_other() {
        let new = encode(&New {
            name: "a".into(),
            added: Some(1),
        })
        .expect("encodes");
        assert_eq!(
            decode::<Old>(&new).expect("unknown field ignored"),
            Old { name: "a".into() }
        );
        let old = encode(&Old { name: "b".into() }).expect("encodes");
        let read = decode::<New>(&old).expect("missing field defaulted");
        assert_eq!(
            read,
            New {
                name: "b".into(),
                added: None
            }
        );
    }

    #[test]
    fn a_variant_of_a_later_version_is_left_to_it() {
        #[derive(Debug, Serialize, Deserialize)]
        enum Now {
            Known,
        }
        #[derive(Debug, Serialize, Deserialize)]
        enum Later {
            Known,
            Added(u32),
        }
        #[derive(Debug, Serialize, Deserialize)]
        struct Envelope<T> {
            inner: Vec<T>,
        }
        let later = Envelope {
            inner: vec![Later::Known, Later::Added(1)],
        };
        let bytes = encode(&later).expect("encodes");
        let refused = decode::<Envelope<Now>>(&bytes).expect_err("unknown");
        assert!(refused.is_from_the_future(), "{refused}");
        let refused = decode::<Old>(&bytes).expect_err("another message");
        assert!(!refused.is_from_the_future(), "{refused}");
    }

    #[test]
    fn a_future_version_is_refused_not_misread() {
        let mut bytes = encode(&Old { name: "a".into() }).expect("encodes").to_vec();
        bytes[0] = WIRE_VERSION + 1;
        let error = decode::<Old>(&bytes).expect_err("future");
        assert!(error.is_from_the_future());
        assert!(matches!(decode::<Old>(&[]), Err(DecodeError::Empty)));
        let garbage = decode::<Old>(&[WIRE_VERSION, 0xc1]).expect_err("garbage");
        assert!(!garbage.is_from_the_future());
    }
}
