//! Inputs that a partition has decided to send and the log has not taken yet.
//!
//! Called by the owner's loop. They wait here rather than in a tick, so that a full log cannot keep the
//! partition from writing the checkpoints that make room in it. In exchange, whatever has not been taken
//! when a checkpoint is written is part of it: an input whose fold decided to send something may be
//! dropped then, and a successor must send it all the same. Sending twice is harmless: the engine
//! ignores what it has folded already.
//!
//! For each partition that is sent to there is one message on its way at a time, so that an input never
//! overtakes an earlier one (a cancellation the start of what it cancels).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use afu9_broker::PublishError;
use afu9_broker::log::{LogWriter, input_bytes};
use afu9_schemas::message::Input;
use afu9_schemas::{Partition, PartitionCount};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};

use crate::owner::{FULL_PAUSE, PAUSE};

/// With this much to send a partition decides nothing new. Far more than is on its way usually, and
/// together with what gateways and workers leave free in the log enough to work it off.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Most inputs sent in one message.
const MAX_INPUTS: usize = 256;

/// A message is closed when its inputs reach this many bytes: with the largest input behind it it stays
/// below the server's bound of 1 MiB.
const CLOSE_AT_BYTES: usize = 256 * 1024;

/// What has been sent: to whom, how many, and whether the server has them.
type Sent = (Partition, usize, Result<(), Arc<PublishError>>);

/// Inputs on their way to other executions, in the order in which they were decided.
pub(crate) struct Outbox {
    writer: LogWriter,
    partitions: PartitionCount,
    lanes: BTreeMap<Partition, Lane>,
    sending: FuturesUnordered<BoxFuture<'static, Sent>>,
    bytes: usize,
    /// Something came or went since it was last saved.
    changed: bool,
    /// What was saved last is not empty.
    saved: bool,
}

/// Inputs for one partition.
#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Input>,
    /// So many of the first ones are sent one by one: the server refused them together.
    alone: usize,
}

impl Outbox {
    /// An outbox with what a former owner has left, as a checkpoint holds it.
    pub(crate) fn new(writer: LogWriter, partitions: PartitionCount, left: Vec<Input>) -> Self {
        let mut outbox = Self {
            writer,
            partitions,
            lanes: BTreeMap::new(),
            sending: FuturesUnordered::new(),
            bytes: 0,
            changed: false,
            saved: !left.is_empty(),
        };
        outbox.push(left);
        outbox
    }

    /// Sends `inputs` behind everything that waits already.
    pub(crate) fn push(&mut self, inputs: Vec<Input>) {
        for input in inputs {
            let partition = self.partitions.of(input.execution);
            self.bytes += input_bytes(&input);
            self.changed = true;
            let idle = !self.lanes.contains_key(&partition);
            let lane = self.lanes.entry(partition).or_default();
            lane.waiting.push_back(input);
            if idle {
                // Sent with what follows for the same partition, once somebody looks.
                self.sending
                    .push(Box::pin(async move { (partition, 0, Ok(())) }));
            }
        }
        // What can go goes now rather than when the loop comes round.
        while self.next().now_or_never().flatten().is_some() {}
    }

    /// Waits until something was taken. `None` if nothing is to be sent.
    ///
    /// Cancel safety: safe.
    pub(crate) async fn next(&mut self) -> Option<()> {
        let (partition, count, verdict) = self.sending.next().await?;
        let Some(lane) = self.lanes.get_mut(&partition) else {
            return Some(());
        };
        match verdict {
            Err(_) if count > 1 => lane.alone = count,
            verdict => {
                self.changed |= count > 0;
                for input in lane.waiting.drain(..count) {
                    self.bytes -= input_bytes(&input);
                    if let Err(error) = &verdict {
                        // Its execution waits for its deadline.
                        let error = afu9_broker::error::chain(&**error);
                        tracing::error!(execution = %input.execution, error, "input refused");
                    }
                }
                lane.alone = lane.alone.saturating_sub(count);
            }
        }
        let chunk = lane.chunk();
        if chunk.is_empty() {
            self.lanes.remove(&partition);
        } else {
            self.sending
                .push(send(self.writer.clone(), partition, chunk));
        }
        Some(())
    }

    /// So much is to be sent that nothing new should be decided.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes > MAX_BYTES
    }

    /// Whether a checkpoint should say what is to be sent.
    pub(crate) fn wants_saving(&self) -> bool {
        self.changed && (self.saved || !self.lanes.is_empty())
    }

    /// What a checkpoint must hold; `None` if the former one has it right. `full`: there is no former
    /// one.
    pub(crate) fn save(&mut self, full: bool) -> Option<Vec<Input>> {
        let wanted = self.wants_saving() || (full && !self.lanes.is_empty());
        if !wanted {
            return None;
        }
        let lanes = self.lanes.values();
        let left: Vec<Input> = lanes
            .flat_map(|lane| lane.waiting.iter().cloned())
            .collect();
        self.changed = false;
        self.saved = !left.is_empty();
        Some(left)
    }

    /// What was saved may not count.
    pub(crate) fn not_saved(&mut self) {
        self.changed = true;
        self.saved = true;
    }
}

impl Lane {
    /// What goes into the next message.
    fn chunk(&self) -> Vec<Input> {
        let most = if self.alone > 0 { 1 } else { MAX_INPUTS };
        let mut bytes = 0;
        let fitting = self.waiting.iter().take(most).take_while(|input| {
            let before = bytes;
            bytes += input_bytes(input);
            before == 0 || bytes <= CLOSE_AT_BYTES
        });
        fitting.cloned().collect()
    }
}

/// Sends inputs again and again until the server has them, or says that it never takes them.
fn send(writer: LogWriter, partition: Partition, inputs: Vec<Input>) -> BoxFuture<'static, Sent> {
    Box::pin(async move {
        let count = inputs.len();
        loop {
            match writer.submit_to(partition, inputs.clone()).await {
                Err(error) if error.is_retryable() => {
                    tracing::debug!(%partition, %error, "inputs not stored, trying again");
                    let full = matches!(*error, PublishError::Full { .. });
                    tokio::time::sleep(if full { FULL_PAUSE } else { PAUSE }).await;
                }
                verdict => return (partition, count, verdict),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use afu9_schemas::ExecutionId;
    use afu9_schemas::message::{Cancel, InputKind};

    use super::*;

    fn input(number: usize, bytes: usize) -> Input {
        Input {
            execution: ExecutionId::new(),
            kind: InputKind::Cancel(Cancel {
                by: number.to_string(),
                reason: Some("x".repeat(bytes)),
            }),
        }
    }

    fn numbers(inputs: &[Input]) -> Vec<usize> {
        let number = |input: &Input| match &input.kind {
            InputKind::Cancel(cancel) => cancel.by.parse().expect("a number"),
            other => panic!("{other:?}"),
        };
        inputs.iter().map(number).collect()
    }

    #[test]
    fn a_message_holds_the_first_ones_in_their_order_and_is_bounded() {
        let lane = |count: usize, bytes: usize| Lane {
            waiting: (0..count).map(|number| input(number, bytes)).collect(),
            alone: 0,
        };
        let many = lane(MAX_INPUTS * 2, 10);
        assert_eq!(numbers(&many.chunk()), Vec::from_iter(0..MAX_INPUTS));
        let halves = lane(4, CLOSE_AT_BYTES / 2);
        assert_eq!(numbers(&halves.chunk()), [0]);
        let large = lane(4, CLOSE_AT_BYTES * 2);
        assert_eq!(numbers(&large.chunk()), [0], "one that is large goes alone");
    }

    /// What the server refused together is sent one by one: only what it will never take is dropped.
    #[test]
    fn what_was_refused_together_goes_alone() {
        let lane = Lane {
            waiting: (0..4).map(|number| input(number, 10)).collect(),
            alone: 2,
        };
        assert_eq!(numbers(&lane.chunk()), [0]);
    }
}
