//! Writing inputs.
//!
//! Each partition has at most one message in flight. What arrives meanwhile is gathered and becomes
//! the next message, which waits a moment longer if the one before was shared. So an idle system adds no
//! delay, and a busy one pays one publish (and in durable mode one fsync) for hundreds of inputs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use afu9_schemas::artifact::json_size;
use afu9_schemas::message::{
    Control, ControlAction, Input, InputEnvelope, InputKind, Outcome, Start,
};
use afu9_schemas::{ExecutionId, InstanceId, Lane, Partition, codec, subject};
use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::room::Room;
use crate::connection::Broker;
use crate::error::PublishError;
use crate::publish::Outgoing;

/// Submissions that may wait for one partition. Beyond this, submitting waits, and so does whoever
/// submits: a worker stops pulling, an HTTP request its turn.
const MAX_WAITING: usize = 4096;

/// Most inputs in one message; a tick folds whole messages.
const MAX_INPUTS: usize = 2048;

/// A message is closed when its inputs reach this many bytes. The largest input is below the
/// difference to the server's limit of 1 MiB.
const CLOSE_AT_BYTES: usize = 256 * 1024;

/// A message that follows sooner than this on one that several submissions shared waits for the next tick of
/// the timer, a millisecond at most: where there is much to do, a message for each submission costs everybody
/// more time than it saves. Nothing waits where submissions come one by one.
const APART: Duration = Duration::from_micros(500);

/// How long an unacknowledged message is repeated before its submitters are told. It carries one
/// message id, so the server keeps one copy.
const GIVE_UP_AFTER: Duration = Duration::from_secs(20);

/// Who writes from outside, and so what it leaves free in the log. Whatever makes room comes last to its
/// bound: a submission adds work, a result ends some and empties a full work queue. Owners, who write what
/// they have decided already, may fill the log: they would stand still if nothing of it could be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    /// Gateways: submissions and wishes.
    Gateway,
    /// Workers: results.
    Worker,
}

impl Outside {
    /// Eighths of the log that it leaves free.
    const fn eighths(self) -> u64 {
        match self {
            Self::Gateway => 2,
            Self::Worker => 1,
        }
    }
}

/// How old the knowledge may be of how full the log is. At full speed less than the headroom is written
/// within it, if the log has its usual bound.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long new executions go to the same partition, if they may go to any. Long against the life of a short
/// one, so that those that live at the same time share messages, and fsyncs, on all their way; short
/// against anybody's idea of an even load.
const STAY: Duration = Duration::from_secs(2);

/// Most new executions that go to the same partition one after another. A partition has only so many jobs of a
/// kind out at a time ([`afu9_schemas::WorkerKind`]): the rest of a burst is for the others.
const STAY_FOR: u64 = 128;

/// The answer to a submission: every input of it is stored, or none of them may be relied on.
type Verdict = Result<(), Arc<PublishError>>;

struct Submission {
    inputs: Vec<Input>,
    answer: oneshot::Sender<Verdict>,
}

/// Writes inputs into the log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LogWriter {
    broker: Broker,
    partitions: Arc<Vec<mpsc::Sender<Submission>>>,
    /// Of those who may be refused because too much is live.
    room: Option<Arc<Room>>,
    /// Where new executions go first, since when, and how many have, of the bulk and of those that somebody waits
    /// for.
    first: u64,
    since: Instant,
    begun: Arc<AtomicU64>,
    urgent: Arc<AtomicU64>,
}

/// The tasks behind a [`LogWriter`].
#[derive(Debug)]
pub struct WriterTask {
    tracker: TaskTracker,
}

impl WriterTask {
    /// Waits until everything submitted is written. Ends only after every clone of the writer is
    /// gone.
    pub async fn finished(self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

impl LogWriter {
    /// Starts one writing task for each partition. For owners, who may fill the log to its bound.
    pub fn start(broker: Broker) -> (Self, WriterTask) {
        Self::start_with(broker, None)
    }

    /// The same for those who are told that the log is full while there still is room for others.
    pub fn start_outside(broker: Broker, outside: Outside) -> (Self, WriterTask) {
        Self::start_with(broker, Some(Arc::new(Headroom::new(outside))))
    }

    fn start_with(broker: Broker, headroom: Option<Arc<Headroom>>) -> (Self, WriterTask) {
        let tracker = TaskTracker::new();
        let submits = headroom
            .as_ref()
            .is_some_and(|headroom| headroom.outside == Outside::Gateway);
        let room = submits.then(|| Arc::new(Room::start(broker.clone(), &tracker)));
        let mut partitions = Vec::new();
        for partition in broker.partitions().all() {
            let (sender, receiver) = mpsc::channel(MAX_WAITING);
            partitions.push(sender);
            let headroom = headroom.clone();
            tracker.spawn(write_partition(
                broker.clone(),
                partition,
                receiver,
                headroom,
            ));
        }
        tracker.close();
        (
            Self {
                broker,
                partitions: Arc::new(partitions),
                room,
                // Not the same one for all processes.
                first: ExecutionId::new().hash64(),
                since: Instant::now(),
                begun: Arc::new(AtomicU64::new(0)),
                urgent: Arc::new(AtomicU64::new(0)),
            },
            WriterTask { tracker },
        )
    }

    /// An id for a new execution that may be in any partition: one after another gets them all for a while.
    /// One that has no room is passed over. Those that somebody waits for go round among the partitions to which
    /// the bulk of this process does not go just now: an owner decides on one message after another.
    pub fn new_execution(&self, lane: Lane) -> ExecutionId {
        let partitions = self.broker.partitions();
        let count = u64::from(partitions.get());
        let time = self.since.elapsed().as_secs() / STAY.as_secs();
        let bulk = |begun: u64| self.first.wrapping_add(time + begun / STAY_FOR) % count;
        let first = match lane {
            Lane::Bulk => bulk(self.begun.fetch_add(1, Ordering::Relaxed)),
            Lane::Interactive => {
                let turn = time + self.urgent.fetch_add(1, Ordering::Relaxed) / STAY_FOR;
                let beside = 1 + turn % (count - 1).max(1);
                (bulk(self.begun.load(Ordering::Relaxed)) + beside) % count
            }
        } as usize;
        let room = self.room.as_ref();
        let has_room = |partition: &Partition| !room.is_some_and(|r| r.is_full(*partition, lane));
        let in_turn = || {
            let all = partitions.all();
            all.cycle().skip(first).take(usize::from(partitions.get()))
        };
        match in_turn().find(has_room).or_else(|| in_turn().next()) {
            Some(partition) => ExecutionId::new_in(partition, partitions),
            None => ExecutionId::new(),
        }
    }

    /// Stores one input in the partition that owns its execution.
    ///
    /// # Errors
    /// See [`Self::submit_to`].
    pub async fn submit(&self, input: Input) -> Verdict {
        let partition = self.broker.partitions().of(input.execution);
        self.submit_to(partition, vec![input]).await
    }

    /// Stores `inputs`, all of which belong to `partition`, in their order. Returns once the server
    /// has acknowledged them.
    ///
    /// Cancel safety: when the future is dropped, the inputs may or may not be stored.
    ///
    /// # Errors
    /// `Full` when the log refuses new inputs, or the partition new executions: nothing was stored, try
    /// again later. `Unacknowledged`
    /// when the server did not answer for a while: they may be stored, and submitting them again is
    /// harmless, because the engine ignores duplicates.
    pub async fn submit_to(&self, partition: Partition, inputs: Vec<Input>) -> Verdict {
        if let Some(room) = &self.room
            && room.refuses(partition, &inputs)
        {
            let subject = subject::log(partition);
            return Err(Arc::new(PublishError::Full { subject }));
        }
        let (answer, verdict) = oneshot::channel();
        let closed = || Arc::new(PublishError::Closed);
        self.partitions
            .get(usize::from(partition.get()))
            .ok_or_else(closed)?
            .send(Submission { inputs, answer })
            .await
            .map_err(|_| closed())?;
        verdict.await.map_err(|_| closed())?
    }
}

async fn write_partition(
    broker: Broker,
    partition: Partition,
    mut submissions: mpsc::Receiver<Submission>,
    headroom: Option<Arc<Headroom>>,
) {
    let subject = subject::log(partition);
    let writer = InstanceId::new();
    let mut number = 0_u64;
    let mut held: Option<Submission> = None;
    let mut sent = Instant::now();
    let mut shared = false;
    loop {
        let first = match held.take() {
            Some(submission) => submission,
            None => match submissions.recv().await {
                Some(submission) => submission,
                None => return,
            },
        };
        if shared && sent.elapsed() < APART {
            tokio::time::sleep_until(sent + APART).await;
        }
        let mut answers = Vec::new();
        let mut inputs = Vec::new();
        let mut bytes = weight(&first);
        push(first, &mut inputs, &mut answers);
        while inputs.len() < MAX_INPUTS && bytes < CLOSE_AT_BYTES {
            match submissions.try_recv() {
                Ok(next) => {
                    let next_bytes = weight(&next);
                    if bytes + next_bytes > CLOSE_AT_BYTES {
                        held = Some(next);
                        break;
                    }
                    bytes += next_bytes;
                    push(next, &mut inputs, &mut answers);
                }
                Err(_) => break,
            }
        }
        number += 1;
        shared = answers.len() > 1;
        sent = Instant::now();
        let id = format!("{writer}.{partition}.{number}");
        let envelope = InputEnvelope { inputs };
        let written = match &headroom {
            Some(headroom) => {
                headroom
                    .write(&broker, write(&broker, &subject, id, &envelope), &subject)
                    .await
            }
            None => write(&broker, &subject, id, &envelope).await,
        };
        let verdict = written.map_err(Arc::new);
        for answer in answers {
            // Nobody waits any more when a request was abandoned; the input is stored all the same.
            let _abandoned = answer.send(verdict.clone());
        }
    }
}

fn push(
    submission: Submission,
    inputs: &mut Vec<Input>,
    answers: &mut Vec<oneshot::Sender<Verdict>>,
) {
    inputs.extend(submission.inputs);
    answers.push(submission.answer);
}

/// Roughly how many bytes a submission takes.
fn weight(submission: &Submission) -> usize {
    submission.inputs.iter().map(input_bytes).sum()
}

/// Roughly how many bytes an input takes in the log.
pub fn input_bytes(input: &Input) -> usize {
    200 + match &input.kind {
        InputKind::Start(start) => start_weight(start),
        InputKind::JobResult(result) => match &result.outcome {
            Outcome::Done(output) => json_size(output),
            Outcome::Failed { error, .. } => {
                error.message.len() + error.chain.iter().map(String::len).sum::<usize>()
            }
            Outcome::Deferred(deferral) => {
                json_size(&deferral.state) + deferral.progress.as_ref().map_or(0, String::len)
            }
        },
        InputKind::Cancel(cancel) => cancel.reason.as_ref().map_or(0, String::len),
        InputKind::Wake { .. } => 0,
        InputKind::Control(control) => control_weight(control),
        InputKind::ChildResolved(found) => found
            .child
            .as_ref()
            .map_or(0, |child| json_size(&child.start.input) + 400),
        InputKind::ChildEnded(ended) => ended.output.as_ref().map_or(0, json_size) + 200,
    }
}

/// What is known of the room in the log, shared by the writing tasks of a process.
#[derive(Debug)]
struct Headroom {
    outside: Outside,
    /// No more than what is to be left was left at the last look.
    tight: AtomicBool,
    looked: tokio::sync::Mutex<Option<Instant>>,
}

impl Headroom {
    fn new(outside: Outside) -> Self {
        Self {
            outside,
            tight: AtomicBool::new(false),
            looked: tokio::sync::Mutex::new(None),
        }
    }

    /// Writes, unless too little was left at the last look; looks again beside it, so that an idle
    /// system waits for nothing more.
    async fn write(
        &self,
        broker: &Broker,
        writing: impl Future<Output = Result<(), PublishError>>,
        subject: &str,
    ) -> Result<(), PublishError> {
        if self.tight.load(Ordering::Relaxed) {
            self.look(broker).await;
            if self.tight.load(Ordering::Relaxed) {
                let subject = subject.to_owned();
                return Err(PublishError::Full { subject });
            }
        }
        tokio::join!(writing, self.look(broker)).0
    }

    /// Asks how full the log is, if nobody has lately. A server that does not answer decides itself what
    /// it refuses.
    async fn look(&self, broker: &Broker) {
        let Ok(mut looked) = self.looked.try_lock() else {
            return;
        };
        if looked.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return;
        }
        let tight = match broker.log_bytes().await {
            Ok((held, bound)) => held > bound - bound / 8 * self.outside.eighths(),
            Err(_) => false,
        };
        if self.tight.swap(tight, Ordering::Relaxed) != tight {
            tracing::warn!(tight, "room in the input log");
        }
        *looked = Some(Instant::now());
    }
}

fn start_weight(start: &Start) -> usize {
    let kept = start.rerun.iter().flat_map(|rerun| &rerun.kept);
    let outputs = kept.filter_map(|step| step.output.as_ref()).map(json_size);
    200 + json_size(&start.input) + outputs.sum::<usize>()
}

fn control_weight(control: &Control) -> usize {
    200 + match &control.action {
        ControlAction::Signal { payload, .. } => json_size(payload),
        ControlAction::Retry { params, .. } => params.as_ref().map_or(0, json_size),
        _ => 0,
    }
}

async fn write(
    broker: &Broker,
    subject: &str,
    id: String,
    envelope: &InputEnvelope,
) -> Result<(), PublishError> {
    let payload = codec::encode(envelope).map_err(|source| PublishError::Encode {
        subject: subject.to_owned(),
        source,
    })?;
    let begun = Instant::now();
    let mut delays = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
        .with_jitter()
        .without_max_times()
        .build();
    loop {
        let outgoing = Outgoing {
            subject: subject.to_owned(),
            payload: payload.clone(),
            message_id: Some(id.clone()),
        };
        match broker.publish(outgoing).await {
            Ok(_) => return Ok(()),
            Err(error @ PublishError::Unacknowledged { .. }) if begun.elapsed() < GIVE_UP_AFTER => {
                tracing::debug!(subject, error = %crate::error::chain(&error), "publish repeated");
                tokio::time::sleep(delays.next().unwrap_or(Duration::from_secs(2))).await;
            }
            Err(error) => return Err(error),
        }
    }
}
