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

/// What stands in history for the output of a step over items that is too large for a message: each
/// item's output is recorded by itself.
///
/// In JSON an object with the single key [`OmittedItems::KEY`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OmittedItems {
    /// How many items the list has.
    pub count: usize,
    /// How many bytes it has as JSON.
    pub bytes: usize,
}

impl OmittedItems {
    /// The key that marks a JSON object as standing for a list.
    pub const KEY: &str = "$items";

    /// As a JSON value.
    pub fn to_value(self) -> Value {
        serde_json::json!({ Self::KEY: { "count": self.count, "bytes": self.bytes } })
    }

    /// What `value` stands for, if it stands for a list.
    pub fn from_value(value: &Value) -> Option<Self> {
        let object = value.as_object().filter(|object| object.len() == 1)?;
        Self::deserialize(object.get(Self::KEY)?).ok()
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
    fn what_stands_for_a_list_survives_json_and_nothing_else_is_one() {
        let omitted = OmittedItems { count: 2, bytes: 9 };
        assert_eq!(OmittedItems::from_value(&omitted.to_value()), Some(omitted));
        for other in [
            serde_json::json!([{"$items": {"count": 2, "bytes": 9}}]),
            serde_json::json!({"$items": {"count": 2}}),
            serde_json::json!({"$items": {"count": 2, "bytes": 9}, "more": 1}),
        ] {
            assert_eq!(OmittedItems::from_value(&other), None);
        }
    }

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
