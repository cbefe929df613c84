//! What everything uses and holds at one moment.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::proc::Footprint;
use crate::system::System;

/// The bucket of idempotency keys, as a stream.
const KEYS: &str = "KV_AFU9_IDEMPOTENCY";

/// What everything uses and holds at one moment.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    /// Since the beginning.
    pub(super) at: Duration,
    /// Of each role, and of nats-server.
    pub(super) footprints: BTreeMap<String, Footprint>,
    /// Bytes in all streams and buckets but the idempotency keys.
    pub(super) stream_bytes: u64,
    /// Messages in them.
    pub(super) stream_messages: u64,
    /// Idempotency keys that are kept.
    pub(super) keys: u64,
    /// Executions in Postgres.
    pub(super) executions: u64,
    /// All rows that executions leave in Postgres.
    pub(super) rows: u64,
}

impl Sample {
    pub(super) async fn take(system: &mut System, at: Duration) -> Result<Self> {
        let mut footprints: BTreeMap<String, Footprint> = BTreeMap::new();
        let roles = system
            .roles
            .iter()
            .map(|role| (role.name.clone(), role.process.pid()));
        let servers = system
            .servers
            .iter()
            .map(|server| ("nats-server".to_owned(), server.pid()));
        for (name, pid) in roles.chain(servers) {
            // One that has just ended is started again, and seen the next time.
            if let Some(footprint) = Footprint::of(pid) {
                footprints.insert(name, footprint);
            }
        }
        let (mut bytes, mut messages, mut keys) = (0, 0, 0);
        for stream in system.nats.streams().await? {
            if stream.name == KEYS {
                keys = stream.messages;
            } else {
                bytes += stream.bytes;
                messages += stream.messages;
            }
        }
        let executions = count(system, "workflow_executions")?;
        let steps = count(system, "workflow_steps")?;
        let calls = count(system, "mcp_tool_calls")?;
        Ok(Self {
            at,
            footprints,
            stream_bytes: bytes,
            stream_messages: messages,
            keys,
            executions,
            rows: executions + steps + calls,
        })
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} s", self.at.as_secs_f64())?;
        for (name, footprint) in &self.footprints {
            let mib = footprint.rss_bytes as f64 / 1024.0 / 1024.0;
            write!(f, ", {name} {mib:.1} MiB {} files", footprint.files)?;
        }
        write!(
            f,
            ", streams {} messages {} bytes, {} keys, {} executions, {} rows",
            self.stream_messages, self.stream_bytes, self.keys, self.executions, self.rows
        )
    }
}

/// The number that `SELECT count(*) FROM <from>` gives.
pub(super) fn count(system: &System, from: &str) -> Result<u64> {
    let rows = system.query(&format!("SELECT count(*) FROM {from}"))?;
    let first = rows.rows.first().and_then(|row| row.first());
    let first = first.context("a count has one row")?;
    first.parse().context("a count is a number")
}
