//! A newtype for every identifier, so that two ids cannot be swapped by accident.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use uuid::Uuid;

/// The name space of ids derived from an idempotency key (see [`ExecutionId::derived`]).
const DERIVED_EXECUTION_NAMESPACE: Uuid =
    Uuid::from_u128(0x6a1f_09a2_5c0e_7f4b_9d33_af09_0000_0001);

/// The name space of ids derived from a dead letter's message id (see [`DeadLetterId::derived`]).
const DERIVED_DEAD_LETTER_NAMESPACE: Uuid =
    Uuid::from_u128(0x6a1f_09a2_5c0e_7f4b_9d33_af09_0000_0003);

/// Why a text is not an id of the wanted kind.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{kind} `{value}` is not valid: {reason}")]
pub struct InvalidId {
    kind: &'static str,
    value: String,
    reason: &'static str,
}

impl InvalidId {
    fn new(kind: &'static str, value: &str, reason: &'static str) -> Self {
        // Ids come from outside: a megabyte of nonsense must not travel on in an error.
        Self {
            kind,
            value: value.chars().take(80).collect(),
            reason,
        }
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new time-ordered id (UUID version 7).
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// Wraps an existing UUID.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID itself, as the database stores it.
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.hyphenated())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(value: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(value)
                    .map(Self)
                    .map_err(|_| InvalidId::new($kind, value, "not a UUID"))
            }
        }
    };
}

uuid_id!(
    /// One run of a workflow.
    ExecutionId,
    "execution id"
);
uuid_id!(
    /// A workflow as such, whatever its versions; the key of the table `workflows`.
    WorkflowId,
    "workflow id"
);
uuid_id!(
    /// One request to change an execution; the same request twice is one change.
    RequestId,
    "request id"
);
uuid_id!(
    /// One dead letter; the key of the table `dead_letters`.
    DeadLetterId,
    "dead letter id"
);
uuid_id!(
    /// One started process of AFU-9 (an orchestrator, a gateway); new at every start.
    InstanceId,
    "instance id"
);

impl DeadLetterId {
    /// The id that belongs to the message id of a dead letter for ever: a second copy of the same
    /// letter has the same.
    pub fn derived(message_id: &str) -> Self {
        Self(Uuid::new_v5(
            &DERIVED_DEAD_LETTER_NAMESPACE,
            message_id.as_bytes(),
        ))
    }
}

impl ExecutionId {
    /// The id that belongs to `key` for ever: two submissions with the same key mean the same
    /// execution, without any time window.
    pub fn derived(key: &str) -> Self {
        Self(Uuid::new_v5(&DERIVED_EXECUTION_NAMESPACE, key.as_bytes()))
    }

    /// Whom an input concerns that is meant for a whole partition.
    pub const NONE: Self = Self(Uuid::nil());

    /// A new id that belongs to `partition`, so that an execution lives where its concurrency key
    /// does and can still be found by its id alone. Takes as many draws as there are partitions, on
    /// average.
    pub fn new_in(partition: Partition, partitions: PartitionCount) -> Self {
        loop {
            let id = Self::new();
            if partitions.of(id) == partition {
                return id;
            }
        }
    }

    /// Like [`Self::derived`], in `partition`: the first of a series of ids derived from `key` that
    /// belongs there.
    pub fn derived_in(key: &str, partition: Partition, partitions: PartitionCount) -> Self {
        let mut id = Self::derived(key);
        let mut draw = 0_u32;
        while partitions.of(id) != partition {
            draw += 1;
            id = Self::derived(&format!("{key}\u{0}{draw}"));
        }
        id
    }

    /// A new id for an execution with this concurrency key, if it has one.
    pub fn new_for(key: Option<&str>, partitions: PartitionCount) -> Self {
        match key {
            Some(key) => Self::new_in(partitions.of_key(key), partitions),
            None => Self::new(),
        }
    }

    /// The id that belongs to `name` for ever, for an execution with this concurrency key, if it has
    /// one.
    pub fn derived_for(name: &str, key: Option<&str>, partitions: PartitionCount) -> Self {
        match key {
            Some(key) => Self::derived_in(name, partitions.of_key(key), partitions),
            None => Self::derived(name),
        }
    }

    /// 64 well-mixed bits of the id, for partitioning and for jitter.
    pub fn hash64(self) -> u64 {
        let (high, low) = self.0.as_u64_pair();
        mix64(high ^ mix64(low))
    }
}

/// The finaliser of SplitMix64: every input bit changes about half of the output bits.
pub fn mix64(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// How many partitions the input log has. Fixed when the streams are created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartitionCount(u16);

impl PartitionCount {
    /// More partitions than this would cost each orchestrator more idle pull requests than they
    /// could ever win by running side by side.
    pub const MAX: u16 = 256;

    /// `count` partitions, from 1 to [`Self::MAX`].
    ///
    /// # Errors
    /// Names the bound when `count` is outside it.
    pub fn new(count: u16) -> Result<Self, InvalidId> {
        if count == 0 || count > Self::MAX {
            return Err(InvalidId::new(
                "partition count",
                &count.to_string(),
                "must be from 1 to 256",
            ));
        }
        Ok(Self(count))
    }

    /// The number itself.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Every partition, in order.
    pub fn all(self) -> impl Iterator<Item = Partition> + Clone {
        (0..self.0).map(Partition)
    }

    /// The partition in which executions with the concurrency key `key` meet.
    pub fn of_key(self, key: &str) -> Partition {
        self.of(ExecutionId::derived(key))
    }

    /// The partition that owns `execution`.
    pub fn of(self, execution: ExecutionId) -> Partition {
        let slot = execution.hash64() % u64::from(self.0);
        // Fits: the remainder is below a u16.
        Partition(slot as u16)
    }
}

/// One partition of the input log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partition(u16);

impl Partition {
    /// Partition number `number`; whether it exists is for the topology to say.
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number itself.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One attempt at one step of one execution. Derived, never drawn, so that a replay of the log
/// names the same job by the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JobId {
    /// The execution the job works for.
    pub execution: ExecutionId,
    /// Position of the step in its definition, from 0.
    pub step: u32,
    /// Attempt number, from 1.
    pub attempt: u32,
    /// Position of the item, from 0, where the step runs once for each item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
}

impl JobId {
    /// The key under which all attempts at the same step and item are one effect for the outside
    /// world.
    pub fn idempotency_key(&self) -> String {
        match self.item {
            None => format!("{}.{}", self.execution, self.step),
            Some(item) => format!("{}.{}-{item}", self.execution, self.step),
        }
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.execution, self.step)?;
        if let Some(item) = self.item {
            write!(f, "-{item}")?;
        }
        write!(f, ".{}", self.attempt)
    }
}

impl FromStr for JobId {
    type Err = InvalidId;

    /// Reads what its `Display` writes, which is also the message id of its job.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let read = || {
            let mut parts = text.split('.');
            let (execution, place, attempt) = (parts.next()?, parts.next()?, parts.next()?);
            let (step, item) = match place.split_once('-') {
                None => (place, None),
                Some((step, item)) => (step, Some(item.parse().ok()?)),
            };
            let id = Self {
                execution: execution.parse().ok()?,
                step: step.parse().ok()?,
                attempt: attempt.parse().ok()?,
                item,
            };
            parts.next().is_none().then_some(id)
        };
        read().ok_or_else(|| InvalidId::new("job id", text, "not <execution>.<step>.<attempt>"))
    }
}

/// A short text that is safe as one token of a subject: letters, digits, `-` and `_`.
fn is_token(value: &str, max: usize) -> bool {
    !value.is_empty()
        && value.len() <= max
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

macro_rules! token_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Longest accepted text, in bytes.
            pub const MAX_BYTES: usize = $max;

            /// Checks and wraps `value`.
            ///
            /// # Errors
            /// When `value` is empty, too long, or holds anything but letters, digits, `-`, `_`.
            pub fn new(value: impl Into<String>) -> Result<Self, InvalidId> {
                let value = value.into();
                if is_token(&value, Self::MAX_BYTES) {
                    Ok(Self(value))
                } else {
                    Err(InvalidId::new(
                        $kind,
                        &value,
                        concat!("must be 1 to ", $max, " letters, digits, '-' or '_'"),
                    ))
                }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(value: String) -> Result<Self, Self::Error> {
                Self::new(value)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(value: &str) -> Result<Self, Self::Err> {
                Self::new(value)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

token_id!(
    /// A class of workers (`github`, `deploy`, `observability`, `agent`, `test`): the part of a
    /// tool's name before the dot, and the stream its jobs wait in.
    WorkerKind,
    "worker kind",
    32
);
token_id!(
    /// One worker process; names it in heartbeats, attempts and `explain`.
    WorkerId,
    "worker id",
    64
);
token_id!(
    /// A schedule of a workflow. Derived from when it is due, so that it outlives new versions of the
    /// definition.
    ScheduleId,
    "schedule id",
    64
);

/// `kind.name`: which worker kind runs the tool, and which tool it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ToolName {
    kind: WorkerKind,
    name: String,
}

impl ToolName {
    /// The tool `name` of workers of `kind`.
    ///
    /// # Errors
    /// When `name` is empty, over 128 bytes, or holds anything but letters, digits, `.`, `-`, `_`.
    pub fn new(kind: WorkerKind, name: impl Into<String>) -> Result<Self, InvalidId> {
        let name = name.into();
        let valid = !name.is_empty()
            && name.len() <= 128
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
        if valid {
            Ok(Self { kind, name })
        } else {
            Err(InvalidId::new(
                "tool name",
                &name,
                "must be letters, digits, '.', '-' or '_'",
            ))
        }
    }

    /// The worker kind.
    pub fn kind(&self) -> &WorkerKind {
        &self.kind
    }

    /// The name without the kind; it may itself contain dots (`logs.search`).
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for ToolName {
    type Err = InvalidId;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        // Only the first dot separates: names with further dots stay reachable.
        let (kind, name) = value
            .split_once('.')
            .ok_or_else(|| InvalidId::new("tool", value, "must be `kind.name`"))?;
        Self::new(WorkerKind::new(kind)?, name)
    }
}

impl TryFrom<String> for ToolName {
    type Error = InvalidId;

    fn try_from(value: String) -> Result<Self, Self::Error> {
        value.parse()
    }
}

impl From<ToolName> for String {
    fn from(value: ToolName) -> Self {
        value.to_string()
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.kind, self.name)
    }
}

/// The id a sender gave to a webhook delivery. Opaque text: GitHub's are UUIDs, others' are not.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeliveryId(String);

impl DeliveryId {
    /// Longest accepted id, in bytes.
    pub const MAX_BYTES: usize = 256;

    /// Checks and wraps `value`.
    ///
    /// # Errors
    /// When it is empty, over 256 bytes, or holds control characters or spaces.
    pub fn new(value: impl Into<String>) -> Result<Self, InvalidId> {
        let value = value.into();
        let valid = !value.is_empty()
            && value.len() <= Self::MAX_BYTES
            && value.bytes().all(|byte| byte.is_ascii_graphic());
        if valid {
            Ok(Self(value))
        } else {
            Err(InvalidId::new(
                "delivery id",
                &value,
                "must be 1 to 256 visible ASCII characters",
            ))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DeliveryId {
    type Error = InvalidId;

    fn try_from(value: String) -> Result<Self, Self::Error> {
        Self::new(value)
    }
}

impl From<DeliveryId> for String {
    fn from(value: DeliveryId) -> Self {
        value.0
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// SHA-256 of a definition's canonical JSON: the identity of one immutable version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DefinitionHash([u8; 32]);

impl DefinitionHash {
    /// The hash of `canonical`, the canonical JSON of a definition.
    pub fn of(canonical: &[u8]) -> Self {
        Self(Sha256::digest(canonical).into())
    }
}

impl fmt::Display for DefinitionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for DefinitionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DefinitionHash({self})")
    }
}

impl TryFrom<String> for DefinitionHash {
    type Error = InvalidId;

    fn try_from(value: String) -> Result<Self, Self::Error> {
        value.parse()
    }
}

impl From<DefinitionHash> for String {
    fn from(value: DefinitionHash) -> Self {
        value.to_string()
    }
}

impl FromStr for DefinitionHash {
    type Err = InvalidId;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(value, &mut bytes)
            .map_err(|_| InvalidId::new("definition hash", value, "must be 64 hex digits"))?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_dot_of_a_tool_separates() {
        let tool: ToolName = "observability.logs.search"
            .parse()
            .expect("two dots are legal");
        assert_eq!(
            (tool.kind().as_str(), tool.name()),
            ("observability", "logs.search")
        );
        assert!("getIssue".parse::<ToolName>().is_err());
        assert!(".getIssue".parse::<ToolName>().is_err());
        assert!("github.".parse::<ToolName>().is_err());
    }

    #[test]
    fn tokens_cannot_carry_subject_syntax() {
        for bad in ["", "a.b", "a b", "*", ">", "é", &"x".repeat(33)] {
            assert!(WorkerKind::new(bad).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn delivery_ids_are_opaque_but_bounded() {
        assert!(DeliveryId::new("not-a-uuid/42").is_ok());
        assert!(DeliveryId::new("").is_err());
        assert!(DeliveryId::new("line\nbreak").is_err());
        assert!(DeliveryId::new("x".repeat(257)).is_err());
    }

    #[test]
    fn a_job_id_is_read_as_it_is_written() {
        for item in [None, Some(7)] {
            let id = JobId {
                execution: ExecutionId::new(),
                step: 3,
                attempt: 2,
                item,
            };
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        let execution = ExecutionId::new();
        for bad in [
            "",
            "a.1.2",
            &format!("{execution}.1"),
            &format!("{execution}.1.2.3"),
        ] {
            assert!(bad.parse::<JobId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_derived_id_belongs_to_its_key() {
        assert_eq!(ExecutionId::derived("a"), ExecutionId::derived("a"));
        assert_ne!(ExecutionId::derived("a"), ExecutionId::derived("b"));
    }

    #[test]
    fn executions_spread_over_all_partitions() {
        let count = PartitionCount::new(8).expect("in range");
        let mut seen = [0_u32; 8];
        for _ in 0..8000 {
            seen[usize::from(count.of(ExecutionId::new()).get())] += 1;
        }
        assert!(
            seen.iter().all(|hits| (800..1200).contains(hits)),
            "uneven: {seen:?}"
        );
    }
}
