//! Claim checks: a payload too large for a message is stored once and referred to.
//!
//! In JSON a reference is an object with the single key [`ArtifactRef::KEY`]. It travels through
//! expressions and parameters like any value; a worker replaces it by the content before its tool
//! runs.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A payload larger than this is stored as an artifact and referred to (the broker refuses messages
/// above 1 MiB, and a job carries its parameters beside other fields).
pub const MAX_INLINE_BYTES: usize = 256 * 1024;

/// Where a large payload is, how large, and what its content must hash to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactRef {
    /// Name in the ARTIFACTS object store.
    pub name: String,
    /// Size of the content, in bytes.
    pub bytes: u64,
    /// SHA-256 of the content, in hex.
    pub sha256: String,
}

impl ArtifactRef {
    /// The key that marks a JSON object as a reference.
    pub const KEY: &str = "$artifact";

    /// The reference as a JSON value.
    pub fn to_value(&self) -> Value {
        serde_json::json!({ Self::KEY: { "name": self.name, "bytes": self.bytes, "sha256": self.sha256 } })
    }

    /// The reference held by `value`, if it is one.
    pub fn from_value(value: &Value) -> Option<Self> {
        let object = value.as_object()?;
        if object.len() != 1 {
            return None;
        }
        serde_json::from_value(object.get(Self::KEY)?.clone()).ok()
    }
}

/// Bytes `value` takes as compact JSON, without building the text. Strings are counted without
/// their escapes: the bound they are compared with leaves ample room for those.
pub fn json_size(value: &Value) -> usize {
    match value {
        Value::Null => 4,
        Value::Bool(_) => 5,
        Value::Number(_) => 12,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => 2 + items.iter().map(|item| json_size(item) + 1).sum::<usize>(),
        Value::Object(fields) => {
            2 + fields
                .iter()
                .map(|(key, item)| key.len() + 4 + json_size(item))
                .sum::<usize>()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_survives_json_and_nothing_else_is_one() {
        let artifact = ArtifactRef {
            name: "a".into(),
            bytes: 3,
            sha256: "00".into(),
        };
        assert_eq!(
            ArtifactRef::from_value(&artifact.to_value()),
            Some(artifact)
        );
        for other in [
            serde_json::json!({"$artifact": "a"}),
            serde_json::json!({"$artifact": {"name": "a", "bytes": 1, "sha256": ""}, "more": 1}),
            serde_json::json!("$artifact"),
        ] {
            assert_eq!(ArtifactRef::from_value(&other), None);
        }
    }
}
