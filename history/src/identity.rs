//! Keys of rows that have no id of their own on the wire.
//!
//! They are derived, never drawn, so that writing the same event twice means the same row. Steps and
//! tool calls get ids in the layout of UUID version 7: 48 bits of milliseconds, then 74 bits taken
//! from a hash of what the row describes where RFC 9562 puts random ones. So they sort by time, which
//! keeps an index growing at its right edge.

use afu9_schemas::{ExecutionId, Timestamp};
use uuid::Uuid;

/// The name space of repository ids.
const REPOSITORY_NAMESPACE: Uuid = Uuid::from_u128(0x6a1f_09a2_5c0e_7f4b_9d33_af09_0000_0002);

/// The largest instant a UUID version 7 can hold, in milliseconds.
const V7_MAX_MILLIS: i64 = (1 << 48) - 1;

/// The id of the row of step `index` of `execution`, or of one of its items.
pub(crate) fn step(
    execution: ExecutionId,
    index: u32,
    item: Option<u32>,
    started_at: Timestamp,
) -> Uuid {
    match item {
        None => time_ordered(started_at, execution, [index]),
        Some(item) => time_ordered(started_at, execution, [index, item]),
    }
}

/// The id of the row of attempt `attempt` at step `index` of `execution`, or at one of its items.
pub(crate) fn tool_call(
    execution: ExecutionId,
    index: u32,
    item: Option<u32>,
    attempt: u32,
    dispatched_at: Timestamp,
) -> Uuid {
    match item {
        None => time_ordered(dispatched_at, execution, [index, attempt]),
        Some(item) => time_ordered(dispatched_at, execution, [index, item, attempt]),
    }
}

/// The id of the row of the repository `owner/name` (UUID version 5: it has no instant that every
/// event agrees on).
pub(crate) fn repository(owner: &str, name: &str) -> Uuid {
    Uuid::new_v5(&REPOSITORY_NAMESPACE, format!("{owner}/{name}").as_bytes())
}

fn time_ordered<const N: usize>(at: Timestamp, execution: ExecutionId, name: [u32; N]) -> Uuid {
    let name = name.map(u32::to_be_bytes);
    let mut bytes = Uuid::new_v5(&execution.as_uuid(), name.as_flattened()).into_bytes();
    let millis = at.as_millis().clamp(0, V7_MAX_MILLIS);
    bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    bytes[6] = 0x70 | (bytes[6] & 0x0f);
    Uuid::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_are_version_7_and_belong_to_their_row() {
        let (execution, at) = (
            ExecutionId::new(),
            Timestamp::from_micros(1_800_000_000_123_456),
        );
        let id = step(execution, 3, None, at);
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
        let (seconds, nanos) = id.get_timestamp().expect("version 7 has one").to_unix();
        assert_eq!((seconds, nanos), (1_800_000_000, 123_000_000));
        assert_eq!(id, step(execution, 3, None, at));
        assert_ne!(id, step(execution, 4, None, at));
        assert_ne!(id, step(execution, 3, Some(0), at));
        assert_ne!(id, step(ExecutionId::new(), 3, None, at));
        let call = |item, attempt| tool_call(execution, 3, item, attempt, at);
        assert_ne!(call(None, 1), call(None, 2));
        assert_ne!(call(None, 1), call(Some(1), 1));
        assert_ne!(call(Some(0), 1), call(Some(1), 1));
        assert_ne!(repository("a", "b"), repository("a", "c"));
    }

    /// A row written by an earlier version must be found again by this one.
    #[test]
    fn ids_stay_what_they_were() {
        let (execution, at) = (
            ExecutionId::from_uuid(Uuid::from_u128(7)),
            Timestamp::from_micros(1_800_000_000_123_456),
        );
        assert_eq!(
            step(execution, 3, None, at).to_string(),
            "01a3185c-507b-770e-85a7-3f59d6e9a61b"
        );
        assert_eq!(
            tool_call(execution, 3, None, 1, at).to_string(),
            "01a3185c-507b-7369-804e-028217e7dbf0"
        );
    }

    #[test]
    fn instants_outside_version_7_are_clamped() {
        for micros in [i64::MIN, -1, i64::MAX] {
            assert_eq!(
                step(ExecutionId::new(), 0, None, Timestamp::from_micros(micros)).get_version_num(),
                7
            );
        }
    }
}
