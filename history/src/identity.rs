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

/// The id of the row of step `index` of `execution`.
pub(crate) fn step(execution: ExecutionId, index: u32, started_at: Timestamp) -> Uuid {
    time_ordered(started_at, execution, &index.to_be_bytes())
}

/// The id of the row of attempt `attempt` at step `index` of `execution`.
pub(crate) fn tool_call(
    execution: ExecutionId,
    index: u32,
    attempt: u32,
    dispatched_at: Timestamp,
) -> Uuid {
    let mut name = [0; 8];
    name[..4].copy_from_slice(&index.to_be_bytes());
    name[4..].copy_from_slice(&attempt.to_be_bytes());
    time_ordered(dispatched_at, execution, &name)
}

/// The id of the row of the repository `owner/name` (UUID version 5: it has no instant that every
/// event agrees on).
pub(crate) fn repository(owner: &str, name: &str) -> Uuid {
    Uuid::new_v5(&REPOSITORY_NAMESPACE, format!("{owner}/{name}").as_bytes())
}

fn time_ordered(at: Timestamp, execution: ExecutionId, name: &[u8]) -> Uuid {
    let mut bytes = Uuid::new_v5(&execution.as_uuid(), name).into_bytes();
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
        let id = step(execution, 3, at);
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
        let (seconds, nanos) = id.get_timestamp().expect("version 7 has one").to_unix();
        assert_eq!((seconds, nanos), (1_800_000_000, 123_000_000));
        assert_eq!(id, step(execution, 3, at));
        assert_ne!(id, step(execution, 4, at));
        assert_ne!(id, step(ExecutionId::new(), 3, at));
        assert_ne!(
            tool_call(execution, 3, 1, at),
            tool_call(execution, 3, 2, at)
        );
        assert_ne!(repository("a", "b"), repository("a", "c"));
    }

    #[test]
    fn instants_outside_version_7_are_clamped() {
        for micros in [i64::MIN, -1, i64::MAX] {
            assert_eq!(
                step(ExecutionId::new(), 0, Timestamp::from_micros(micros)).get_version_num(),
                7
            );
        }
    }
}
