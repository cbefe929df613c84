//! Executions that a trigger of a definition should have started and could not: a dead letter each, as
//! webhooks get one, so that somebody sees it.

use afu9_broker::PublishError;
use afu9_broker::dead_letter::named_dead_letter_message;
use afu9_broker::publish::Outgoing;
use afu9_schemas::Timestamp;
use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::message::{DeadLetter, DeadLetterReason, Unstarted as Cause};

/// An execution that was not started.
#[derive(Debug)]
pub(crate) struct Unstarted {
    /// The same for the same cause: by it a second copy is recognised.
    id: String,
    letter: Box<DeadLetter>,
}

impl Unstarted {
    /// Why `cause` started nothing.
    pub(crate) fn new(cause: &Cause, code: &str, message: String, at: Timestamp) -> Self {
        // Nothing of it can fail to be JSON.
        let raw = serde_json::to_vec(cause).unwrap_or_default();
        Self {
            id: format!("dlq.{}", cause.origin),
            letter: Box::new(DeadLetter {
                reason: DeadLetterReason::Unstarted,
                kind: None,
                job: None,
                raw: Some(raw),
                attempts: Vec::new(),
                error: StepError::new(ErrorClass::Permanent, code, message),
                at,
                job_id: None,
                replay_of: None,
            }),
        }
    }

    /// One message with the dead letter.
    pub(crate) fn message(self) -> Result<Outgoing, PublishError> {
        named_dead_letter_message(&self.letter, Some(self.id))
    }
}

#[cfg(test)]
mod tests {
    use afu9_schemas::message::{Trigger, TriggerKind};
    use afu9_schemas::{codec, subject};
    use serde_json::json;

    use super::*;

    #[test]
    fn the_dead_letter_says_what_was_to_start_and_why() {
        let cause = Cause {
            workflow: "w".to_owned(),
            version: 3,
            rule: 1,
            origin: "after:x".to_owned(),
            cause: json!({ "upstream": { "id": "x" } }),
            trigger: Some(Trigger {
                kind: TriggerKind::Workflow,
                by: "execution x".to_owned(),
                delivery: None,
                depth: 1,
                initiator: None,
            }),
            repository: None,
        };
        let at = Timestamp::from_micros(1);
        let message = "input.n: no such field".to_owned();
        let unstarted = Unstarted::new(&cause, "trigger.expression", message, at);
        let outgoing = unstarted.message().expect("encodes");
        assert_eq!(outgoing.subject, subject::DEAD_LETTER_TRIGGER);
        assert_eq!(outgoing.message_id.as_deref(), Some("dlq.after:x"));
        let letter: DeadLetter = codec::decode(&outgoing.payload).expect("decodes");
        assert_eq!(letter.reason, DeadLetterReason::Unstarted);
        let raw: Cause = serde_json::from_slice(&letter.raw.unwrap_or_default()).expect("JSON");
        assert_eq!(raw, cause);
    }
}
