//! The streams and buckets AFU-9 needs: created when they are missing, compared when they are
//! there. A difference is reported and never mended silently: an operator may have meant it, and
//! some changes lose messages. Only buckets of versions that knew no bounds are given them.

use std::time::Duration;

use afu9_schemas::{PartitionCount, WorkerKind, subject};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{
    Config as StreamConfig, DiscardPolicy, RetentionPolicy, StorageType,
};
use async_nats::jetstream::{ErrorCode, kv, object_store};

use crate::config::{Config, Durability};
use crate::connection::Broker;
use crate::error::RequestError;
use crate::work::Part;

pub(crate) const LOG: &str = "AFU9_LOG";
pub(crate) const HISTORY: &str = "AFU9_HISTORY";
pub(crate) const INBOX: &str = "AFU9_INBOX";
pub(crate) const DLQ: &str = "AFU9_DLQ";
pub(crate) const ADVISORIES: &str = "AFU9_ADVISORIES";
pub(crate) const ARTIFACTS: &str = "AFU9_ARTIFACTS";
pub(crate) const CHECKPOINTS: &str = "AFU9_CHECKPOINTS";
pub(crate) const OWNERS: &str = "AFU9_OWNERS";
pub(crate) const DEFINITIONS: &str = "AFU9_DEFINITIONS";
pub(crate) const IDEMPOTENCY: &str = "AFU9_IDEMPOTENCY";
pub(crate) const SCHEDULES: &str = "AFU9_SCHEDULES";

/// Where the number of partitions is kept: it must not change with a configuration file.
const PARTITIONS_KEY: &str = "afu9_partitions";

/// Within this time the server drops a second copy of a message with the same id. Publishers give up
/// on an unacknowledged message well before; a longer window would only cost the server memory.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// How long webhook deliveries are kept for redelivery.
const INBOX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long dead letters are kept.
const DLQ_AGE: Duration = Duration::from_secs(90 * 24 * 3600);

/// How long history waits for a projector at most.
const HISTORY_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long an unused artifact is kept.
pub(crate) const ARTIFACT_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long the server remembers that deliveries of a job were exhausted.
const ADVISORY_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

const ADVISORY_BYTES: i64 = 64 * 1024 * 1024;

/// Where the server says that it gave up on a message; the names of stream and consumer follow.
const MAX_DELIVERIES: &str = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES";

/// How long the mark of an orchestrator that has gone is kept: all others hear of it at once, and each
/// process that ever ran would otherwise leave one for ever.
pub(crate) const MEMBER_MARKER: Duration = Duration::from_secs(3600);

/// What the names of all work queues begin with.
pub(crate) const WORK_PREFIX: &str = "AFU9_WORK_";

/// Name of the work queue of `kind`.
pub(crate) fn work_stream(kind: &WorkerKind) -> String {
    format!("{WORK_PREFIX}{}", kind.as_str().to_ascii_uppercase())
}

/// What [`Broker::ensure_topology`] or [`Broker::inspect_topology`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Streams and buckets that were missing and have been created.
    pub created: Vec<String>,
    /// Streams and buckets that are missing.
    pub missing: Vec<String>,
    /// Settings that are not what this configuration would create.
    pub drift: Vec<Drift>,
}

/// One setting that is not what this configuration would create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The stream, or that of the bucket.
    pub stream: String,
    /// The setting.
    pub setting: &'static str,
    /// What it would be.
    pub expected: String,
    /// What it is.
    pub found: String,
}

impl std::fmt::Display for Drift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "stream {}: {} is {}, the configuration says {}",
            self.stream, self.setting, self.found, self.expected
        )
    }
}

impl Broker {
    /// Creates what is missing and compares what is there. The number of partitions found in the
    /// input log wins over the configured one.
    ///
    /// Safe to call by many processes at once, and again at any time.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn ensure_topology(&mut self) -> Result<Report, RequestError> {
        let mut report = Report::default();
        for stream in streams(&self.config) {
            self.ensure_stream(stream, &mut report).await?;
        }
        self.adopt_partitions(&mut report).await?;
        let mut refused = false;
        for bucket in buckets(&self.config) {
            self.ensure_bucket(bucket, &mut refused, &mut report)
                .await?;
        }
        self.ensure_artifacts(&mut report).await?;
        for drift in &report.drift {
            tracing::warn!(stream = drift.stream, "topology differs: {drift}");
        }
        if !report.created.is_empty() {
            tracing::info!(created = ?report.created, "topology created");
        }
        Ok(report)
    }

    /// Creates the work queue of `kind` and its consumers again if they are gone: in durable mode
    /// they are in the memory of a server that may have been restarted.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn ensure_work_queue(&self, kind: &WorkerKind) -> Result<(), RequestError> {
        let name = work_stream(kind);
        let wanted = streams(&self.config)
            .into_iter()
            .find(|stream| stream.name == name);
        let Some(wanted) = wanted else {
            return Err(RequestError::new(
                format!("creating the work queue {kind}"),
                "this configuration has no such worker kind",
            ));
        };
        let mut report = Report::default();
        self.ensure_stream(wanted, &mut report).await?;
        if !report.created.is_empty() {
            tracing::warn!(%kind, "work queue was gone and has been created again");
        }
        self.ensure_work_consumers(kind).await
    }

    /// Compares what is there with what this configuration asks for, and changes nothing.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn inspect_topology(&self) -> Result<Report, RequestError> {
        let mut report = Report::default();
        for wanted in streams(&self.config) {
            match self.jetstream.get_stream(&wanted.name).await {
                Ok(stream) => compare(&wanted, &stream.cached_info().config, &mut report.drift),
                Err(error) if is_missing(&error.kind()) => report.missing.push(wanted.name),
                Err(error) => {
                    let operation = format!("looking up stream {}", wanted.name);
                    return Err(RequestError::new(operation, error));
                }
            }
        }
        for wanted in buckets(&self.config) {
            match self.jetstream.get_key_value(&wanted.bucket).await {
                Ok(found) => compare_bucket(
                    &wanted,
                    &found.stream.cached_info().config,
                    &mut report.drift,
                ),
                Err(_) => report.missing.push(wanted.bucket),
            }
        }
        if self.jetstream.get_object_store(ARTIFACTS).await.is_err() {
            report.missing.push(ARTIFACTS.to_owned());
        }
        Ok(report)
    }

    async fn ensure_stream(
        &self,
        wanted: StreamConfig,
        report: &mut Report,
    ) -> Result<(), RequestError> {
        let operation = || format!("looking up stream {}", wanted.name);
        match self.jetstream.get_stream(&wanted.name).await {
            Ok(stream) => {
                compare(&wanted, &stream.cached_info().config, &mut report.drift);
                Ok(())
            }
            Err(error) if is_missing(&error.kind()) => self.create_stream(wanted, report).await,
            Err(error) => Err(RequestError::new(operation(), error)),
        }
    }

    async fn create_stream(
        &self,
        wanted: StreamConfig,
        report: &mut Report,
    ) -> Result<(), RequestError> {
        let name = wanted.name.clone();
        match self.jetstream.create_stream(wanted).await {
            Ok(_) => {
                report.created.push(name);
                Ok(())
            }
            // Another process was quicker, with a slightly different configuration.
            Err(error) if has_code(&error, ErrorCode::STREAM_NAME_EXIST) => Ok(()),
            Err(error) => Err(RequestError::new(format!("creating stream {name}"), error)),
        }
    }

    async fn adopt_partitions(&mut self, report: &mut Report) -> Result<(), RequestError> {
        let log = self.log_info().await?;
        let found = log
            .config
            .metadata
            .get(PARTITIONS_KEY)
            .and_then(|text| text.parse::<u16>().ok())
            .and_then(|count| PartitionCount::new(count).ok());
        if let Some(found) = found
            && found != self.config.partitions
        {
            report.drift.push(Drift {
                stream: LOG.to_owned(),
                setting: "partitions",
                expected: self.config.partitions.get().to_string(),
                found: found.get().to_string(),
            });
            self.config.partitions = found;
        }
        Ok(())
    }

    async fn ensure_bucket(
        &self,
        wanted: kv::Config,
        refused: &mut bool,
        report: &mut Report,
    ) -> Result<(), RequestError> {
        let bucket = wanted.bucket.clone();
        if let Ok(found) = self.jetstream.get_key_value(&bucket).await {
            let mut found = found.stream.cached_info().config.clone();
            if !*refused && let Some(changed) = bounded(&wanted, &found) {
                match self.jetstream.update_stream(&changed).await {
                    Ok(_) => {
                        tracing::info!(bucket, "bounds of a bucket set");
                        found = changed;
                    }
                    // Nothing is wrong that was right before: a role that may not do this, or a server
                    // without room, works on. The others are not tried: each would take as long.
                    Err(error) => {
                        *refused = true;
                        let error = crate::error::chain(&error);
                        tracing::warn!(bucket, error, "bounds of a bucket not set");
                    }
                }
            }
            compare_bucket(&wanted, &found, &mut report.drift);
            return Ok(());
        }
        match self.jetstream.create_key_value(wanted).await {
            Ok(_) => {
                report.created.push(bucket);
                Ok(())
            }
            // Another process was quicker.
            Err(_) if self.jetstream.get_key_value(&bucket).await.is_ok() => Ok(()),
            Err(error) => Err(RequestError::new(
                format!("creating bucket {bucket}"),
                error,
            )),
        }
    }

    async fn ensure_artifacts(&self, report: &mut Report) -> Result<(), RequestError> {
        if self.jetstream.get_object_store(ARTIFACTS).await.is_ok() {
            return Ok(());
        }
        let wanted = object_store::Config {
            bucket: ARTIFACTS.to_owned(),
            description: Some("payloads too large for a message".to_owned()),
            max_age: ARTIFACT_AGE,
            max_bytes: self.config.limits.artifact_bytes,
            num_replicas: self.config.replicas.count(),
            ..object_store::Config::default()
        };
        match self.jetstream.create_object_store(wanted).await {
            Ok(_) => {
                report.created.push(ARTIFACTS.to_owned());
                Ok(())
            }
            Err(_) if self.jetstream.get_object_store(ARTIFACTS).await.is_ok() => Ok(()),
            Err(error) => Err(RequestError::new("creating the artifact store", error)),
        }
    }
}

/// Every stream this configuration asks for.
fn streams(config: &Config) -> Vec<StreamConfig> {
    let limits = &config.limits;
    let base =
        |name: &str, description: &str, subjects: Vec<String>, max_bytes: i64| StreamConfig {
            name: name.to_owned(),
            description: Some(description.to_owned()),
            subjects,
            max_bytes,
            // New messages are refused: an old one may be somebody's only copy.
            discard: DiscardPolicy::New,
            retention: RetentionPolicy::Limits,
            storage: StorageType::File,
            num_replicas: config.replicas.count(),
            duplicate_window: DUPLICATE_WINDOW,
            allow_direct: true,
            ..StreamConfig::default()
        };
    let mut streams = vec![
        StreamConfig {
            metadata: [(
                PARTITIONS_KEY.to_owned(),
                config.partitions.get().to_string(),
            )]
            .into(),
            ..base(
                LOG,
                "inputs, until a checkpoint covers them",
                vec![subject::LOG_ALL.to_owned()],
                limits.log_bytes,
            )
        },
        StreamConfig {
            max_age: HISTORY_AGE,
            ..base(
                HISTORY,
                "what happened, until it is in the database",
                vec![subject::HISTORY_ALL.to_owned()],
                limits.history_bytes,
            )
        },
        StreamConfig {
            max_age: INBOX_AGE,
            // A sender that tries again after minutes must find its first delivery.
            duplicate_window: Duration::from_secs(3600),
            ..base(
                INBOX,
                "webhook deliveries as they were received",
                vec![subject::INBOX_ALL.to_owned()],
                limits.inbox_bytes,
            )
        },
        StreamConfig {
            max_age: DLQ_AGE,
            ..base(
                DLQ,
                "dead letters",
                vec![subject::DEAD_LETTER_ALL.to_owned()],
                limits.dead_letter_bytes,
            )
        },
        StreamConfig {
            max_age: ADVISORY_AGE,
            // An advisory that does not fit is repeated by nobody: drop the oldest instead.
            discard: DiscardPolicy::Old,
            ..base(
                ADVISORIES,
                "jobs whose deliveries are exhausted",
                // By the names of the consumers: a wildcard stands for a whole token, so the streams'
                // common prefix cannot be asked for.
                Part::ALL
                    .map(|part| format!("{MAX_DELIVERIES}.*.{}", part.consumer_name()))
                    .into(),
                ADVISORY_BYTES,
            )
        },
    ];
    for kind in &config.kinds {
        streams.push(StreamConfig {
            retention: RetentionPolicy::WorkQueue,
            storage: work_storage(config.durability),
            ..base(
                &work_stream(kind),
                "jobs, until they are done",
                vec![subject::work_all(kind)],
                limits.work_bytes,
            )
        });
    }
    streams
}

/// Jobs are derived from the log: a lost one is dispatched again. So they need no fsync, which in
/// durable mode each job and each acknowledgement would otherwise cost.
fn work_storage(durability: Durability) -> StorageType {
    match durability {
        Durability::Fast => StorageType::File,
        Durability::Durable => StorageType::Memory,
    }
}

fn buckets(config: &Config) -> Vec<kv::Config> {
    let limits = &config.limits;
    let bucket = |name: &str, description: &str, max_bytes| kv::Config {
        bucket: name.to_owned(),
        description: description.to_owned(),
        history: 1,
        max_bytes,
        num_replicas: config.replicas.count(),
        storage: StorageType::File,
        ..kv::Config::default()
    };
    vec![
        bucket(
            CHECKPOINTS,
            "state and floor of each partition",
            limits.checkpoint_bytes,
        ),
        kv::Config {
            limit_markers: Some(MEMBER_MARKER),
            ..bucket(
                OWNERS,
                "which orchestrator owns which partition",
                limits.small_bucket_bytes,
            )
        },
        bucket(DEFINITIONS, "workflow definitions", limits.definition_bytes),
        kv::Config {
            max_age: config.key_age,
            ..bucket(
                IDEMPOTENCY,
                "which execution belongs to which key",
                limits.key_bytes,
            )
        },
        bucket(
            SCHEDULES,
            "how far each schedule has got",
            limits.small_bucket_bytes,
        ),
    ]
}

/// The configuration of a bucket's stream with the bounds it lacks, if it lacks any. A bound of another
/// size is somebody's choice; how long keys are kept, the configuration alone says.
fn bounded(wanted: &kv::Config, found: &StreamConfig) -> Option<StreamConfig> {
    let mut changed = found.clone();
    if found.max_bytes <= 0 {
        changed.max_bytes = wanted.max_bytes;
    }
    if wanted.max_age > Duration::ZERO {
        changed.max_age = wanted.max_age;
    }
    if wanted.limit_markers.is_some() {
        changed.allow_message_ttl = true;
    }
    (changed != *found).then_some(changed)
}

fn compare_bucket(wanted: &kv::Config, found: &StreamConfig, drift: &mut Vec<Drift>) {
    let mut differ = Differ::of(&found.name, drift);
    differ.check("max_bytes", &wanted.max_bytes, &found.max_bytes);
    differ.check("max_age", &wanted.max_age, &found.max_age);
    differ.check("replicas", &wanted.num_replicas, &found.num_replicas);
}

/// Settings whose difference matters to correctness or to an operator.
fn compare(wanted: &StreamConfig, found: &StreamConfig, drift: &mut Vec<Drift>) {
    let mut differ = Differ::of(&wanted.name, drift);
    differ.check("subjects", &wanted.subjects, &found.subjects);
    differ.check("retention", &wanted.retention, &found.retention);
    differ.check("discard", &wanted.discard, &found.discard);
    differ.check("storage", &wanted.storage, &found.storage);
    differ.check("replicas", &wanted.num_replicas, &found.num_replicas);
    differ.check("max_bytes", &wanted.max_bytes, &found.max_bytes);
    differ.check("max_age", &wanted.max_age, &found.max_age);
    let (expected, found) = (&wanted.duplicate_window, &found.duplicate_window);
    differ.check("duplicate_window", expected, found);
}

/// Notes what differs in one stream.
struct Differ<'a> {
    stream: &'a str,
    drift: &'a mut Vec<Drift>,
}

impl<'a> Differ<'a> {
    fn of(stream: &'a str, drift: &'a mut Vec<Drift>) -> Self {
        Self { stream, drift }
    }

    fn check<T: std::fmt::Debug>(&mut self, setting: &'static str, expected: &T, found: &T) {
        let (expected, found) = (format!("{expected:?}"), format!("{found:?}"));
        if expected != found {
            self.drift.push(Drift {
                stream: self.stream.to_owned(),
                setting,
                expected,
                found,
            });
        }
    }
}

fn is_missing(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// Whether JetStream's own error code is somewhere among the causes.
pub(crate) fn has_code(error: &(dyn std::error::Error + 'static), code: ErrorCode) -> bool {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(jetstream) = error.downcast_ref::<async_nats::jetstream::Error>() {
            return jetstream.error_code() == code;
        }
        current = error.source();
    }
    // Some kinds hold the error without giving it as their source.
    error
        .to_string()
        .contains(&format!("error code {}", code.0))
}
