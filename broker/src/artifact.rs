//! Artifacts: payloads too large for a message, stored once and referred to.
//!
//! The name of an artifact is the hash of its content, so that storing the same content twice is
//! one artifact, and a reference cannot point to something else later.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use afu9_schemas::ArtifactRef;
use async_nats::jetstream::object_store::ObjectInfo;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

use crate::connection::Broker;
use crate::error::RequestError;
use crate::topology::{ARTIFACT_AGE, ARTIFACTS};

/// Largest artifact, in bytes: GitHub's largest webhook is 25 MB.
pub const MAX_ARTIFACT_BYTES: usize = 64 * 1024 * 1024;

/// An artifact stored longer ago than this is stored anew, so that whoever stores one can rely on it
/// for at least the other half of its age.
const REFRESH_AFTER: Duration = Duration::from_secs(ARTIFACT_AGE.as_secs() / 2);

/// How long reading may take. The largest artifact takes seconds; one whose pieces are being replaced
/// would never end, because the client waits for pieces that are gone.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

impl Broker {
    /// Stores `content`. One that is there already is left as it is: replacing it would take its
    /// pieces from under those who read it.
    ///
    /// # Errors
    /// When it is too large, or the server refuses or does not answer.
    pub async fn put_artifact(&self, content: &[u8]) -> Result<ArtifactRef, RequestError> {
        let failed = |error: async_nats::Error| RequestError::new("storing an artifact", error);
        if content.len() > MAX_ARTIFACT_BYTES {
            return Err(failed(
                format!("{} bytes are more than {MAX_ARTIFACT_BYTES}", content.len()).into(),
            ));
        }
        let sha256 = hex::encode(Sha256::digest(content));
        let store = self
            .jetstream
            .get_object_store(ARTIFACTS)
            .await
            .map_err(|error| failed(error.into()))?;
        let found = store.info(sha256.as_str()).await;
        if !found.is_ok_and(|info| is_fresh(&info, content.len())) {
            let mut reader = content;
            store
                .put(sha256.as_str(), &mut reader)
                .await
                .map_err(|error| failed(error.into()))?;
        }
        Ok(ArtifactRef {
            name: sha256.clone(),
            bytes: content.len() as u64,
            sha256,
        })
    }

    /// Reads an artifact and checks that it is what the reference says.
    ///
    /// # Errors
    /// When it is not there, too large, has another content, or takes too long.
    pub async fn get_artifact(&self, artifact: &ArtifactRef) -> Result<Vec<u8>, RequestError> {
        let failed = |error: async_nats::Error| {
            RequestError::new(format!("reading artifact {}", artifact.name), error)
        };
        let limit = MAX_ARTIFACT_BYTES as u64;
        if artifact.bytes > limit {
            return Err(failed(
                format!("{} bytes are more than {limit}", artifact.bytes).into(),
            ));
        }
        let store = self
            .jetstream
            .get_object_store(ARTIFACTS)
            .await
            .map_err(|error| failed(error.into()))?;
        let object = store
            .get(artifact.name.as_str())
            .await
            .map_err(|error| failed(error.into()))?;
        let mut content = Vec::new();
        let mut reader = object.take(limit + 1);
        let reading = reader.read_to_end(&mut content);
        tokio::time::timeout(READ_TIMEOUT, reading)
            .await
            .map_err(|elapsed| failed(elapsed.into()))?
            .map_err(|error| failed(error.into()))?;
        if hex::encode(Sha256::digest(&content)) != artifact.sha256 {
            return Err(failed("its content is not what the reference says".into()));
        }
        Ok(content)
    }
}

/// Whether the artifact of `bytes` bytes that is there will be there for long enough.
fn is_fresh(info: &ObjectInfo, bytes: usize) -> bool {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let age = info
        .modified
        .and_then(|stored| u64::try_from(stored.unix_timestamp()).ok())
        .map(|stored| now.as_secs().saturating_sub(stored));
    !info.deleted && info.size == bytes && age.is_some_and(|age| age < REFRESH_AFTER.as_secs())
}
