//! Dead letters, from their stream into Postgres: read, written, acknowledged. They stay in the stream.
//!
//! Runs beside the projector of history, and waits for the tables that that one makes.

use std::time::Duration;

use afu9_broker::Broker;
use afu9_broker::dead_letter::{StoredLetter, StoredLetters};
use afu9_broker::error::chain;
use backon::BackoffBuilder;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{BACKOFF, now, pause};
use crate::Store;
use crate::rows::dead_letter::Letter;

/// Most letters of one fetch. Each is at most 1 MiB, and what is fetched is held in memory; usual ones
/// are a few KiB.
const MAX_LETTERS: usize = 64;

/// Old letters are dropped this often: they are kept for months.
const DROP_EVERY: Duration = Duration::from_hours(1);

/// Writes dead letters to a [`Store`].
#[derive(Debug)]
pub struct LetterProjector {
    store: Store,
    broker: Broker,
}

impl LetterProjector {
    /// A projector that does nothing until it is run.
    pub const fn new(store: Store, broker: Broker) -> Self {
        Self { store, broker }
    }

    /// Writes dead letters until `shutdown`, however long the database or the broker is away.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut backoff = BACKOFF.build();
        let mut drop_due = Instant::now();
        let mut letters = None;
        loop {
            let round = async {
                if Instant::now() >= drop_due {
                    drop_due = Instant::now() + DROP_EVERY;
                    self.drop_old().await;
                }
                self.round(&mut letters).await
            };
            let ended = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                ended = round => ended,
            };
            match ended {
                Ok(()) => backoff = BACKOFF.build(),
                Err(reason) => {
                    tracing::debug!(reason, "dead letters are not written for now");
                    letters = None;
                    if pause(&mut backoff, &shutdown).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Writes what comes within a moment. What fails is repeated by the next round.
    async fn round(&self, letters: &mut Option<StoredLetters>) -> Result<(), String> {
        let letters = match letters.as_mut() {
            Some(letters) => letters,
            None => {
                let opened = self.broker.stored_letters().await;
                letters.insert(opened.map_err(|error| chain(&error))?)
            }
        };
        let batch = letters.next_batch(MAX_LETTERS).await;
        let batch = batch.map_err(|error| chain(&error))?;
        let mut readable: Vec<(StoredLetter, Letter)> = Vec::with_capacity(batch.len());
        for stored in batch {
            let letter = match stored.decode() {
                Ok(letter) => Some(letter),
                Err(error) if error.is_from_the_future() => {
                    tracing::warn!(
                        stream_sequence = stored.stream_sequence,
                        "dead letter of a newer version is left for a newer projector"
                    );
                    continue;
                }
                Err(_) => None,
            };
            let letter = Letter {
                id: stored.id,
                stream_sequence: stored.stream_sequence,
                stored_at: stored.stored_at,
                raw: stored.raw.to_vec(),
                letter,
            };
            readable.push((stored, letter));
        }
        let (stored, letters): (Vec<_>, Vec<_>) = readable.into_iter().unzip();
        self.write(&letters).await?;
        for stored in stored {
            let acknowledged = stored.acknowledge().await;
            acknowledged.map_err(|error| chain(&error))?;
        }
        Ok(())
    }

    /// Writes `letters`; where the database refuses something in them, one by one.
    async fn write(&self, letters: &[Letter]) -> Result<(), String> {
        match self.store.write_letters(letters).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_retryable() => return Err(chain(&error)),
            Err(_) => {}
        }
        for letter in letters {
            match self.store.write_letters(std::slice::from_ref(letter)).await {
                Ok(_) => {}
                Err(error) if error.is_retryable() => return Err(chain(&error)),
                Err(error) => tracing::error!(
                    stream_sequence = letter.stream_sequence,
                    error = chain(&error),
                    "dead letter cannot be written, and is in its stream only"
                ),
            }
        }
        Ok(())
    }

    async fn drop_old(&self) {
        match self.store.drop_old_letters(now()).await {
            Ok(0) => {}
            Ok(dropped) => tracing::info!(dropped, "old dead letters dropped"),
            Err(error) => {
                tracing::debug!(error = chain(&error), "old dead letters stay for now");
            }
        }
    }
}
