//! Bodies: read whole, up to a limit each, and up to a limit for all requests together.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use super::shell::overloaded;
use crate::app::App;
use crate::problem::{Kind, Problem};

/// Of a body that is too large, so much is read and dropped before the answer: a client that still
/// sends would otherwise see a broken connection instead of it.
const DROPPED_BYTES: usize = 32 * 1024 * 1024;

/// A body, and its share of the memory for all of them.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
/// When it is larger, breaks off, or there is no memory for it now.
pub(super) async fn read(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<Read, Problem> {
    let declared = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<usize>().ok());
    let mut chunks = body.into_data_stream();
    let mut share: Option<OwnedSemaphorePermit> = None;
    let mut bytes = BytesMut::with_capacity(declared.unwrap_or(0).min(limit).min(64 * 1024));
    let mut dropped = 0;
    let mut too_large = declared.is_some_and(|declared| declared > limit);
    let mut no_room = false;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            Problem::new(Kind::Malformed, "the body broke off", "send the whole body")
                .caused_by(&error)
        })?;
        too_large |= bytes.len() + chunk.len() > limit;
        if !too_large && !no_room {
            let wanted = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
            match std::sync::Arc::clone(&app.bodies).try_acquire_many_owned(wanted) {
                Ok(more) => match &mut share {
                    Some(share) => share.merge(more),
                    None => share = Some(more),
                },
                Err(_) => no_room = true,
            }
        }
        if too_large || no_room {
            // What was read so far need not be held for the rest.
            share = None;
            bytes = BytesMut::new();
            dropped += chunk.len();
            if dropped > DROPPED_BYTES {
                break;
            }
        } else {
            bytes.extend_from_slice(&chunk);
        }
    }
    if too_large {
        return Err(Problem::new(
            Kind::TooLarge,
            format!("the body is larger than {limit} bytes"),
            "send less",
        ));
    }
    if no_room {
        return Err(overloaded());
    }
    Ok(Read {
        bytes: bytes.freeze(),
        _share: share,
    })
}

/// Reads a small JSON body; an empty one counts as `{}`.
///
/// # Errors
/// When it cannot be read, is not JSON, or not the wanted JSON.
pub(super) async fn json<T: DeserializeOwned>(
    app: &App,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Problem> {
    let read = read(app, headers, body, app.config.limits.request_bytes).await?;
    let malformed =
        |detail: String| Problem::new(Kind::Malformed, detail, "send a JSON object as documented");
    let text: &[u8] = match read.bytes.trim_ascii().first() {
        None => b"{}",
        Some(b'{') => &read.bytes,
        // A list would be taken for the fields in their order.
        Some(_) => return Err(malformed("the body is not a JSON object".to_owned())),
    };
    serde_json::from_slice(text)
        .map_err(|error| malformed(format!("the body is not the JSON this path takes: {error}")))
}

/// Reads a definition.
///
/// # Errors
/// When it cannot be read, or is not text.
pub(super) async fn definition(
    app: &App,
    headers: &HeaderMap,
    body: Body,
) -> Result<String, Problem> {
    let read = read(app, headers, body, app.config.limits.definition_bytes).await?;
    String::from_utf8(read.bytes.to_vec()).map_err(|error| {
        Problem::new(
            Kind::Malformed,
            format!("the body is not UTF-8 text: {error}"),
            "send the definition as JSON or YAML text in UTF-8",
        )
    })
}
