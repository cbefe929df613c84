//! The workers, and the world outside that sees what they do.

use std::collections::BTreeMap;

use afu9_schemas::id::mix64;
use afu9_schemas::message::{CancelNotice, Deferral, InputEnvelope, Job, Outcome};
use afu9_schemas::{ErrorClass, StepError, Timestamp};
use serde_json::{Value, json};

use crate::inputs;
use crate::world::World;

/// What was done outside, by idempotency key and attempt: with which parameters.
pub(crate) type Outside = BTreeMap<String, BTreeMap<u32, Value>>;

/// Jobs in the hands of workers, and what they know.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    /// Jobs somebody works on, and the server process they came from, which gives them to another worker
    /// should that one disappear.
    taken: Vec<(u64, Job)>,
    /// Answers on their way.
    answers: Vec<(u64, Job, Outcome)>,
    pub(crate) notices: Vec<CancelNotice>,
    pub(crate) outside: Outside,
}

impl Workers {
    pub(crate) fn is_busy(&self, world: &World) -> bool {
        !(self.taken.is_empty() && self.answers.is_empty() && world.queue.jobs.is_empty())
    }

    pub(crate) fn act(&mut self, world: &mut World) {
        match world.dice.roll(10) {
            0..=3 => self.take(world),
            4 | 5 => self.finish(world),
            6 if world.fault(3) => self.disappear(world),
            _ => self.answer(world),
        }
    }

    fn take(&mut self, world: &mut World) {
        let near = world.queue.jobs.len().min(12);
        if near > 0 {
            let at = world.dice.roll(near);
            let job = world.queue.jobs.remove(at);
            self.taken.push((world.server, job));
        }
    }

    /// A worker dies: the job it had is given to another one, which may do it a second time.
    fn disappear(&mut self, world: &mut World) {
        if let Some((server, job)) = world.dice.take(&mut self.taken) {
            if world.dice.once_in(2) {
                self.run(&job, world);
            }
            if server == world.server {
                world.queue.jobs.push(job);
                world.stats.redelivered += 1;
            }
        }
    }

    fn finish(&mut self, world: &mut World) {
        if let Some((_, job)) = world.dice.take(&mut self.taken) {
            let outcome = self.run(&job, world);
            self.answers.push((world.next_id(), job, outcome));
        }
    }

    fn run(&mut self, job: &Job, world: &mut World) -> Outcome {
        let is_cancelled = self.notices.iter().any(|notice| {
            notice.execution == job.id.execution
                && notice
                    .before
                    .is_none_or(|before| job.dispatched_at < before)
        });
        let refused = |class, code: &str| Outcome::Failed {
            error: StepError::new(class, code, "not begun"),
            retry_after_ms: None,
        };
        if is_cancelled {
            world.stats.cancelled_jobs += 1;
            return refused(ErrorClass::Cancelled, "cancelled");
        }
        if job.deadline.is_some_and(|deadline| deadline <= world.now) {
            return refused(ErrorClass::Timeout, "worker.too_late");
        }
        let outcome = outcome(job);
        if matches!(outcome, Outcome::Done(_)) {
            let attempts = self.outside.entry(job.id.idempotency_key()).or_default();
            attempts.insert(job.id.attempt, job.params.clone());
        }
        outcome
    }

    fn answer(&mut self, world: &mut World) {
        if self.answers.is_empty() {
            return;
        }
        let at = world.dice.roll(self.answers.len());
        let (id, job, outcome) = self.answers[at].clone();
        let mut input = inputs::answer(&job, outcome);
        if let afu9_schemas::message::InputKind::JobResult(result) = &mut input.kind {
            result.ended_at = Timestamp::from_micros(result.started_at.as_micros() + 1);
        }
        let envelope = InputEnvelope {
            inputs: vec![input],
        };
        if world.publish(job.partition, id, true, envelope) {
            self.answers.remove(at);
        }
        if world.fault(15) {
            // It is sent a second time, much later.
            let again = self.answers.get(at).cloned();
            self.answers
                .extend(again.map(|(_, job, outcome)| (world.next_id(), job, outcome)));
        }
    }
}

/// How often `test.wait` is deferred within an attempt.
const TURNS: u64 = 2;

/// What a job comes to: decided by its id and its state alone.
pub(crate) fn outcome(job: &Job) -> Outcome {
    let turns = job.state.as_ref().and_then(Value::as_u64).unwrap_or(0);
    if job.tool.name() == "wait" && turns < TURNS {
        return Outcome::Deferred(Box::new(Deferral {
            after_ms: 300 * (turns + 1),
            state: json!(turns + 1),
            progress: Some(format!("{turns} of {TURNS}")),
        }));
    }
    let place = u64::from(job.id.step) << 32 | u64::from(job.id.attempt);
    let item = job.id.item.map_or(0, |item| u64::from(item) + 1);
    match mix64(job.id.execution.hash64() ^ mix64(place) ^ mix64(item)) % 20 {
        0..=15 => {
            let known = job.params.get("value").cloned().unwrap_or(Value::Null);
            Outcome::Done(json!({ "value": known, "step": job.id.step }))
        }
        16..=18 => inputs::failure(ErrorClass::Retryable),
        _ => inputs::failure(ErrorClass::Permanent),
    }
}
