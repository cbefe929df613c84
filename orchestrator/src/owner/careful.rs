//! Folding with care: which input brings its owner down, and setting it aside.
//!
//! An owner that is brought down by an input leaves it to its successor, which would be brought down as
//! well, for ever. So who loads a partition whose checkpoint did not get any further since it was last
//! claimed notes in the checkpoint's head what it is about to fold, before it does: first message by
//! message, and once a message was not survived, input by input. An input that was not survived
//! [`MAX_TRIES`] times is set aside. That, too, is in the head, so that every replay passes over the same
//! ones. A panic needs no mark beforehand: it is caught, and noted afterwards.
//!
//! Nothing is written while everything is well: the head counts its claims itself.

use std::panic::AssertUnwindSafe;

use afu9_broker::dead_letter::named_dead_letter_message;
use afu9_broker::kv::{CheckpointHead, Mark, Place, Poison};
use afu9_broker::log::LogMessage;
use afu9_broker::publish::Outgoing;
use afu9_broker::{Broker, RequestError};
use afu9_engine::{POISON, Remedy};
use afu9_schemas::error::{ErrorClass, StepError, panic_message};
use afu9_schemas::message::{DeadLetter, DeadLetterReason, Input, InputEnvelope, InputKind};
use afu9_schemas::{JobId, codec};
use tokio_util::sync::CancellationToken;

use super::{Owner, OwnerError, PAUSE};
use crate::config::{CAREFUL_AFTER, MAX_TICK_MESSAGES, MAX_TRIES};
use crate::stats::add;
use crate::tick::Plan;

/// What an owner that folds with care knows.
#[derive(Debug)]
pub(super) struct Careful {
    /// Up to this position; what came later was not there when the last owner ended.
    until: u64,
    /// What the owner before noted last.
    found: Option<Mark>,
}

impl Careful {
    /// Whether the owner of a checkpoint with this head, as it was found, has to take care.
    pub(super) async fn after(
        broker: &Broker,
        head: &CheckpointHead,
    ) -> Result<Option<Self>, RequestError> {
        if head.claims < CAREFUL_AFTER && head.mark.is_none() && head.poison.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            until: broker.log_end().await?,
            found: head.mark,
        }))
    }

    /// How often `place` was begun, this time included.
    fn tries(&self, place: Place) -> u32 {
        match self.found {
            Some(found) if found.place == place || found.place == whole(place.sequence) => {
                found.tries + 1
            }
            _ => 1,
        }
    }

    /// Whether something of the message was not survived.
    fn suspects(&self, sequence: u64) -> bool {
        self.found
            .is_some_and(|found| found.place.sequence == sequence)
    }
}

/// How many messages of the log one tick takes: with care, one.
pub(super) fn tick_messages(care: Option<&Careful>) -> usize {
    care.map_or(MAX_TICK_MESSAGES, |_| 1)
}

const fn whole(sequence: u64) -> Place {
    Place {
        sequence,
        input: None,
    }
}

/// Runs `decide`, or says with which words it panicked.
pub(super) fn caught<T>(decide: impl FnOnce() -> T) -> Result<T, String> {
    // Whoever finds an error here drops everything the closure could have left half done.
    std::panic::catch_unwind(AssertUnwindSafe(decide))
        .map_err(|panic| panic_message(panic.as_ref()))
}

impl Owner {
    /// What was begun too often is poison. Called once, before anything is folded.
    pub(super) async fn judge(&mut self) -> Result<(), OwnerError> {
        let Some(mark) = self.care.as_ref().and_then(|care| care.found) else {
            return Ok(());
        };
        if mark.tries < MAX_TRIES {
            return Ok(());
        }
        let mut poison = self.checkpointer.head.poison.clone();
        let (partition, place) = (self.partition, mark.place);
        tracing::error!(%partition, ?place, tries = mark.tries, "poisonous input set aside");
        match poison.iter_mut().find(|poison| poison.place == place) {
            Some(known) => known.times = known.times.saturating_add(1),
            None => poison.push(Poison { place, times: 1 }),
        }
        let noted = self.checkpointer.note(None, poison).await;
        match noted {
            Ok(true) => {}
            Ok(false) => return Err(OwnerError::Fenced(partition)),
            Err(source) => return Err(OwnerError::Load { partition, source }),
        }
        if let Some(care) = &mut self.care {
            care.found = None;
        }
        Ok(())
    }

    /// Whether `batch` is to be folded with care. That ends with what the owner before cannot have seen.
    pub(super) fn is_careful(&mut self, batch: &[LogMessage]) -> bool {
        let Some(care) = &self.care else {
            return false;
        };
        if batch.iter().any(|message| message.sequence <= care.until) {
            return true;
        }
        tracing::info!(partition = %self.partition, "no care is needed any more");
        self.care = None;
        false
    }

    /// A tick with care: what was noted is forgotten only once it was survived. `None` if it was told to
    /// stop meanwhile: the state is then ahead of the world and must not be checkpointed.
    pub(super) async fn plan_carefully(
        &mut self,
        batch: Vec<LogMessage>,
        stop: &CancellationToken,
    ) -> Result<Option<Plan>, OwnerError> {
        // The head is written by one at a time.
        self.finish_checkpoint().await?;
        let mut plan = Plan::default();
        for message in batch {
            if !self.note(Some(whole(message.sequence)), stop).await? {
                return Ok(None);
            }
            match self.plan_message(message, stop).await? {
                Some(more) => plan.append(more),
                None => return Ok(None),
            }
        }
        Ok(self.note(None, stop).await?.then_some(plan))
    }

    async fn plan_message(
        &mut self,
        message: LogMessage,
        stop: &CancellationToken,
    ) -> Result<Option<Plan>, OwnerError> {
        let sequence = message.sequence;
        let is_suspect = self
            .care
            .as_ref()
            .is_some_and(|care| care.suspects(sequence));
        let poison = &self.checkpointer.head.poison;
        let is_poisoned = poison.iter().any(|p| p.place.sequence == sequence);
        let all = self.poison_at(whole(sequence));
        let batch = vec![message];
        if all.is_none() {
            self.load_definitions(&batch).await;
        }
        self.check_lease()?;
        if !is_suspect && !is_poisoned {
            return match caught(|| self.fold(batch)) {
                Ok(plan) => plan.map(Some),
                Err(message) => Err(self.panicked(message).await),
            };
        }
        let before = self.state.counters();
        let mut plan = Plan::default();
        for message in batch {
            let envelope = match message.envelope {
                Ok(envelope) => envelope,
                Err(error) => {
                    self.pass_over(sequence, &error)?;
                    continue;
                }
            };
            self.note_answers(&envelope);
            let mut effects = Vec::new();
            if !self.state.begin_message(sequence, message.at, &mut effects) {
                continue;
            }
            plan.append(self.plan(effects)?);
            let inputs = envelope.inputs.len();
            for (number, input) in (0..).zip(envelope.inputs) {
                let place = Place {
                    sequence,
                    input: Some(number),
                };
                if !self.note(Some(place), stop).await? {
                    return Ok(None);
                }
                self.check_lease()?;
                let poison = all.or_else(|| self.poison_at(place));
                let planned = caught(|| self.plan_input(place, number, input, poison));
                match planned {
                    Ok(more) => plan.append(more?),
                    Err(message) => return Err(self.panicked(message).await),
                }
            }
            self.count(inputs, before);
        }
        Ok(Some(plan))
    }

    fn poison_at(&self, place: Place) -> Option<Poison> {
        let mut poison = self.checkpointer.head.poison.iter();
        poison.find(|poison| poison.place == place).copied()
    }

    fn plan_input(
        &mut self,
        place: Place,
        number: u32,
        input: Input,
        poison: Option<Poison>,
    ) -> Result<Plan, OwnerError> {
        let mut effects = Vec::new();
        let Some(poison) = poison else {
            let definitions = &self.definitions;
            self.state
                .fold_one(number, input, definitions, &mut effects);
            return self.plan(effects);
        };
        let why = format!(
            "input {number} of message {} of partition {} ({} for execution {}) brought down the \
             orchestrator {MAX_TRIES} times and was set aside; it is among the dead letters",
            place.sequence,
            self.partition,
            name_of(&input.kind),
            input.execution,
        );
        let remedy = match poison.times {
            0 | 1 => Remedy::Fail,
            2 => Remedy::End,
            _ => Remedy::Ignore,
        };
        self.state
            .set_aside(number, &input, remedy, &why, &mut effects);
        let mut plan = self.plan(effects)?;
        plan.letters.push(self.letter(place, number, input, why)?);
        add(&self.shared.stats.poisoned_inputs, 1);
        Ok(plan)
    }

    /// The dead letter of a poisonous input: a message of the log that holds it alone.
    fn letter(
        &self,
        place: Place,
        number: u32,
        input: Input,
        why: String,
    ) -> Result<Outgoing, OwnerError> {
        let encode = |source| OwnerError::Encode {
            partition: self.partition,
            source,
        };
        let job_id = job_of(&input);
        let inputs = vec![input];
        let raw = codec::encode(&InputEnvelope { inputs }).map_err(|source| {
            encode(afu9_broker::PublishError::Encode {
                subject: afu9_schemas::subject::log(self.partition),
                source,
            })
        })?;
        let letter = DeadLetter {
            reason: DeadLetterReason::Poison,
            kind: None,
            job: None,
            raw: Some(raw.to_vec()),
            attempts: Vec::new(),
            error: StepError::new(ErrorClass::Permanent, POISON, why),
            at: super::now(),
            job_id,
            replay_of: None,
        };
        // The same input is one dead letter, however often it is passed over.
        let id = format!("dlq.{}.{}.{number}", self.partition, place.sequence);
        named_dead_letter_message(&letter, Some(id)).map_err(encode)
    }

    /// Notes what is folded next; nothing, if what was noted is survived. Returns false if it was told to
    /// stop before that could be written.
    async fn note(
        &mut self,
        place: Option<Place>,
        stop: &CancellationToken,
    ) -> Result<bool, OwnerError> {
        let mark = place.map(|place| Mark {
            place,
            tries: self.care.as_ref().map_or(1, |care| care.tries(place)),
        });
        loop {
            let poison = self.checkpointer.head.poison.clone();
            match self.checkpointer.note(mark, poison).await {
                Ok(true) => return Ok(true),
                Ok(false) => return Err(OwnerError::Fenced(self.partition)),
                Err(error) => {
                    let error = afu9_broker::error::chain(&error);
                    tracing::debug!(partition = %self.partition, error, "mark not written, trying again");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(false),
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Notes what was being folded when it panicked, if that is not noted already. Should it not be
    /// possible, the next owner takes care all the same, once the checkpoint gets no further.
    pub(super) async fn panicked(&mut self, message: String) -> OwnerError {
        let partition = self.partition;
        let (sequence, number) = self.state.folding();
        let place = Place {
            sequence,
            input: Some(number),
        };
        tracing::error!(%partition, sequence, input = number, message, "folding an input panicked");
        let noted = self.checkpointer.head.mark;
        if noted.is_none_or(|mark| mark.place.sequence != sequence) {
            if let Err(error) = self.finish_checkpoint().await {
                return error;
            }
            let poison = self.checkpointer.head.poison.clone();
            let mark = Mark { place, tries: 1 };
            if let Err(error) = self.checkpointer.note(Some(mark), poison).await {
                let error = afu9_broker::error::chain(&error);
                tracing::warn!(%partition, error, "panic not noted");
            }
        }
        OwnerError::Panicked { partition, message }
    }
}

/// The attempt whose result an input is.
fn job_of(input: &Input) -> Option<JobId> {
    match &input.kind {
        InputKind::JobResult(result) => Some(JobId {
            execution: input.execution,
            step: result.step,
            attempt: result.attempt,
            item: result.item,
        }),
        _ => None,
    }
}

/// What an input is, for people.
fn name_of(kind: &InputKind) -> &'static str {
    match kind {
        InputKind::Start(_) => "a submission",
        InputKind::JobResult(_) => "a result",
        InputKind::Cancel(_) => "a cancellation",
        InputKind::Wake { .. } => "a wake",
        InputKind::Control(_) => "a wish",
        InputKind::ChildResolved(_) => "a workflow that was looked up",
        InputKind::ChildEnded(_) => "the end of another execution",
    }
}
