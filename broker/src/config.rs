//! How to reach NATS, and what to ask of it.

use std::path::PathBuf;
use std::time::Duration;

use afu9_schemas::{PartitionCount, WorkerKind};

/// How to reach NATS, and what to ask of it.
#[derive(Debug, Clone)]
pub struct Config {
    /// `nats://host:port`, several separated by commas; `tls://` for TLS.
    pub url: String,
    /// How to prove who we are.
    pub auth: Auth,
    /// A certificate authority to trust besides the system's, as a PEM file.
    pub ca_file: Option<PathBuf>,
    /// The name of the connection, for the server's monitoring.
    pub name: String,
    /// Copies of every stream.
    pub replicas: Replicas,
    /// What an acknowledgement means.
    pub durability: Durability,
    /// Partitions of the input log, where it does not exist yet.
    pub partitions: PartitionCount,
    /// Worker kinds that have a work queue.
    pub kinds: Vec<WorkerKind>,
    /// A delivered job that shows no sign of life for this long is given to another worker. Workers show
    /// one three times as often, so every process must be told the same.
    pub ack_wait: Duration,
    /// Idempotency keys are forgotten after this time.
    pub key_age: Duration,
    /// Bounds of the streams and buckets.
    pub limits: Limits,
}

/// [`Config::ack_wait`] unless told otherwise: longer than a worker may pause for a busy machine, a slow
/// disk or a short loss of its connection.
pub const DEFAULT_ACK_WAIT: Duration = Duration::from_secs(30);

/// How to prove who we are. Its `Debug` shows no secret.
#[derive(Clone, Default)]
pub enum Auth {
    /// Not at all.
    #[default]
    None,
    /// A user and a password.
    UserPassword {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// The seed of an nkey.
    Nkey(String),
    /// A credentials file.
    CredentialsFile(PathBuf),
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::UserPassword { .. } => "UserPassword(…)",
            Self::Nkey(_) => "Nkey(…)",
            Self::CredentialsFile(_) => "CredentialsFile(…)",
        })
    }
}

/// How many servers hold each stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Replicas {
    /// One: what a single server can do.
    #[default]
    One,
    /// Three: survives the loss of one server.
    Three,
}

impl Replicas {
    pub(crate) const fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Three => 3,
        }
    }
}

/// What an acknowledgement means. The server's `sync_interval` decides; this says what the operator
/// chose, so that the rest of the topology fits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// Written to the operating system: a killed process loses nothing, a machine that loses power
    /// may lose the last two minutes.
    #[default]
    Fast,
    /// On disk (`sync_interval: always`).
    Durable,
}

/// [`Config::key_age`] unless told otherwise: as long as webhook deliveries are kept, and longer than any
/// sender tries again by itself.
pub const DEFAULT_KEY_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Bounds of the streams and buckets, and of what is live. Each refuses new messages when it is full, so
/// that nothing that was accepted is ever dropped.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Inputs that no checkpoint covers yet, in bytes.
    pub log_bytes: i64,
    /// Live executions in the memory of their owners, in bytes, as they are counted there; each partition
    /// has its share. Above it no more are taken in from outside.
    pub live_bytes: i64,
    /// Jobs of one worker kind, in bytes.
    pub work_bytes: i64,
    /// History that nobody has consumed yet, in bytes.
    pub history_bytes: i64,
    /// Webhook deliveries, in bytes.
    pub inbox_bytes: i64,
    /// Dead letters, in bytes.
    pub dead_letter_bytes: i64,
    /// Artifacts, in bytes.
    pub artifact_bytes: i64,
    /// Checkpoints of all partitions, in bytes.
    pub checkpoint_bytes: i64,
    /// Every version of every definition, in bytes.
    pub definition_bytes: i64,
    /// Idempotency keys, in bytes.
    pub key_bytes: i64,
    /// Leases and what is known of schedules, each, in bytes.
    pub small_bucket_bytes: i64,
}

const MIB: i64 = 1024 * 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Checkpoints are half a second apart: this is minutes of inputs at full speed.
            log_bytes: 512 * MIB,
            // Some half a million executions of a few steps and little input.
            live_bytes: 1024 * MIB,
            // Derived from the log, and held in memory in durable mode.
            work_bytes: 512 * MIB,
            // Hours of an absent database at full speed, days at a usual one.
            history_bytes: 4096 * MIB,
            inbox_bytes: 1024 * MIB,
            dead_letter_bytes: 1024 * MIB,
            artifact_bytes: 4096 * MIB,
            // Four times what is live: a checkpoint grows to three times its first segment, and is then
            // written anew before that is removed.
            checkpoint_bytes: 4096 * MIB,
            // Three times the size of each version: thousands of large ones.
            definition_bytes: 512 * MIB,
            // Some seven million keys.
            key_bytes: 2048 * MIB,
            small_bucket_bytes: 64 * MIB,
        }
    }
}
