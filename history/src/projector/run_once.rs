//! One round of the projector: delivered messages in, a [`Report`] out.

use afu9_broker::error::chain;
use afu9_schemas::message::HistoryBatch;
use futures::{StreamExt, TryStreamExt, stream};

use crate::projector::{Config, Message};
use crate::write::{WriteError, Written};
use crate::{Rows, Store};

/// What became of delivered messages.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Rows inserted or changed.
    pub rows: u64,
    /// Events without a place in the database, left out.
    pub malformed: u64,
    /// Every given message up to here is in Postgres or in `dead`; none if that is none.
    pub through: Option<u64>,
    /// Messages that can never be written.
    pub dead: Vec<DeadMessage>,
    /// The first message that only a newer version can read; nothing from it on was looked at.
    pub from_the_future: Option<u64>,
}

/// A message that can never be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadMessage {
    /// Its place in the stream.
    pub stream_sequence: u64,
    /// Why: the error with its causes.
    pub reason: String,
}

/// A message that could be read: its place in the stream and what it says.
type Readable<'a> = (u64, &'a HistoryBatch);

/// Writes `messages`, which are in stream order, and says what may be acknowledged. Repeating it is harmless.
///
/// # Errors
/// When Postgres is away: nothing may be acknowledged, and all of it written again later.
pub(super) async fn run_once(
    config: &Config,
    store: &Store,
    messages: &[Message],
) -> Result<Report, WriteError> {
    let mut report = Report::default();
    let readable = sort(messages, &mut report);
    let transactions = plan(config, &readable, &mut report);

    // Collected first: a closure kept across an await would tie this future to one lifetime.
    let writes: Vec<_> = transactions
        .into_iter()
        .map(|transaction| write(store, transaction))
        .collect();
    let results: Vec<(&[Readable<'_>], Written)> = stream::iter(writes)
        .buffer_unordered(config.writers.max(1))
        .try_collect()
        .await?;

    for (span, written) in results {
        report.rows += written.rows;
        report
            .dead
            .extend(written.poison.into_iter().map(|poison| DeadMessage {
                stream_sequence: span[poison.index].0,
                reason: chain(&poison.error),
            }));
    }
    Ok(report)
}

/// Separates what can be read from what cannot, up to the first message from the future.
fn sort<'a>(messages: &'a [Message], report: &mut Report) -> Vec<Readable<'a>> {
    let mut readable = Vec::with_capacity(messages.len());
    for Message {
        batch,
        stream_sequence,
        ..
    } in messages
    {
        match batch {
            Ok(batch) => readable.push((*stream_sequence, batch)),
            Err(error) if error.is_from_the_future() => {
                report.from_the_future = Some(*stream_sequence);
                break;
            }
            Err(error) => report.dead.push(DeadMessage {
                stream_sequence: *stream_sequence,
                reason: chain(error),
            }),
        }
        report.through = Some(*stream_sequence);
    }
    readable
}

/// Messages that share a transaction, and their rows.
struct Transaction<'a> {
    messages: &'a [Readable<'a>],
    rows: Rows,
}

/// Divides `messages` into transactions: as many messages in each as fit, in order.
fn plan<'a>(
    config: &Config,
    messages: &'a [Readable<'a>],
    report: &mut Report,
) -> Vec<Transaction<'a>> {
    let mut transactions = Vec::new();
    let mut rows = Rows::default();
    let mut begin = 0;
    for (index, (_, batch)) in messages.iter().enumerate() {
        rows.add(batch);
        let full = rows.len() >= config.rows_per_transaction
            || rows.bytes() >= config.bytes_per_transaction;
        if full || index + 1 == messages.len() {
            report.malformed += rows.malformed();
            let rows = std::mem::take(&mut rows);
            transactions.push(Transaction {
                messages: &messages[begin..=index],
                rows,
            });
            begin = index + 1;
        }
    }
    transactions
}

/// Writes one transaction; where Postgres refuses something in it, message by message.
async fn write<'a>(
    store: &Store,
    transaction: Transaction<'a>,
) -> Result<(&'a [Readable<'a>], Written), WriteError> {
    let Transaction { messages, rows } = transaction;
    let written = match store.write(&rows).await {
        Ok(rows) => Written {
            rows,
            poison: Vec::new(),
        },
        Err(error) if error.is_retryable() => return Err(error),
        Err(_) => {
            let batches: Vec<&HistoryBatch> = messages.iter().map(|(_, batch)| *batch).collect();
            store.write_batches(&batches).await?
        }
    };
    Ok((messages, written))
}
