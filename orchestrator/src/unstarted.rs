//! Executions that a trigger of a definition should have started and could not: a dead letter each, as
//! webhooks get one, so that somebody sees it.

use afu9_broker::PublishError;
use afu9_broker::dead_letter::named_dead_letter_message;
use afu9_broker::publish::Outgoing;
use afu9_schemas::Timestamp;
use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::message::{DeadLetter, DeadLetterReason};
use serde_json::{Value, json};

use crate::definitions::Found;

/// An execution that was not started.
#[derive(Debug)]
pub(crate) struct Unstarted {
    /// The same for the same cause: by it a second copy is recognised.
    id: String,
    letter: Box<DeadLetter>,
}

impl Unstarted {
    /// `origin` is the text from which the id of the execution would have been derived, `cause` what the
    /// trigger had to go by.
    pub(crate) fn new(
        found: &Found,
        origin: &str,
        cause: &Value,
        code: &str,
        message: String,
        at: Timestamp,
    ) -> Self {
        let workflow = &found.record.workflow;
        let raw = json!({
            "workflow": workflow.name,
            "version": workflow.version,
            "cause": cause,
        });
        Self {
            id: format!("dlq.{origin}"),
            letter: Box::new(DeadLetter {
                reason: DeadLetterReason::Unstarted,
                kind: None,
                job: None,
                raw: Some(raw.to_string().into_bytes()),
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
    use std::sync::Arc;

    use afu9_schemas::codec;
    use afu9_schemas::definition::{self, ReadOptions};
    use afu9_schemas::message::{DefinitionRecord, WorkflowRef};
    use afu9_schemas::{WorkflowId, subject};

    use super::*;

    #[test]
    fn the_dead_letter_says_what_was_to_start_and_why() {
        let source = "name: w\nsteps: [{ name: a, sleep: 1ms }]\n";
        let compiled = afu9_engine::workflow::compile(source, ReadOptions::default());
        let compiled = compiled.expect("valid");
        let found = Found {
            record: DefinitionRecord {
                workflow: WorkflowRef {
                    id: WorkflowId::new(),
                    name: "w".to_owned(),
                    version: 3,
                    hash: definition::hash(&compiled.value),
                },
                definition: compiled.value,
                enabled: true,
                applied_at: Timestamp::from_micros(0),
                applied_by: "test".to_owned(),
                switched: None,
            },
            workflow: Arc::new(compiled.workflow),
        };
        let cause = json!({ "upstream": { "id": "x" } });
        let at = Timestamp::from_micros(1);
        let message = "input.n: no such field".to_owned();
        let unstarted =
            Unstarted::new(&found, "after:x", &cause, "trigger.expression", message, at);
        let outgoing = unstarted.message().expect("encodes");
        assert_eq!(outgoing.subject, subject::DEAD_LETTER_TRIGGER);
        assert_eq!(outgoing.message_id.as_deref(), Some("dlq.after:x"));
        let letter: DeadLetter = codec::decode(&outgoing.payload).expect("decodes");
        assert_eq!(letter.reason, DeadLetterReason::Unstarted);
        let raw: Value = serde_json::from_slice(&letter.raw.unwrap_or_default()).expect("JSON");
        assert_eq!(
            raw,
            json!({ "workflow": "w", "version": 3, "cause": cause })
        );
    }
}
