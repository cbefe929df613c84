//! Owners of all partitions that fold the log with the engine, as an orchestrator does: they answer
//! wishes and questions and tell history, but dispatch nothing. Tests say what jobs come to.

use std::sync::Arc;

use afu9_broker::Broker;
use afu9_broker::dead_letter::dead_letter_message;
use afu9_broker::history::history_message;
use afu9_broker::log::{LogReader, LogWriter, WriterTask};
use afu9_broker::query::{Question, Questions};
use afu9_engine::workflow::compile;
use afu9_engine::{Definitions, Effect, PartitionState};
use afu9_schemas::definition::ReadOptions;
use afu9_schemas::message::{
    ControlAction, HistoryBatch, Input, InputEnvelope, InputKind, JobResult, Outcome, Query,
    QueryReply,
};
use afu9_schemas::{
    DefinitionHash, ErrorClass, ExecutionId, Partition, StepError, Timestamp, WorkerId,
};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::World;

/// Owners of all partitions.
pub(crate) struct Folding {
    writer: LogWriter,
    written: WriterTask,
    _tasks: JoinSet<()>,
}

impl World {
    /// Begins to fold every partition from its beginning.
    pub(crate) async fn folding(&self) -> Folding {
        let mut tasks = JoinSet::new();
        for partition in self.broker.partitions().all() {
            let questions = self.broker.questions(partition).await.expect("subscribes");
            let owner = Owner {
                broker: self.broker.clone(),
                state: PartitionState::new(partition),
                definitions: Definitions::default(),
                partition,
            };
            let reader = LogReader::new(self.broker.clone(), partition, 0);
            tasks.spawn(owner.run(reader, questions));
        }
        self.broker.flush().await.expect("flushes");
        let (writer, written) = LogWriter::start(self.broker.clone());
        Folding {
            writer,
            written,
            _tasks: tasks,
        }
    }
}

impl Folding {
    /// The first attempt at a step ends well.
    pub(crate) async fn completes(&self, execution: ExecutionId, step: u32, output: Value) {
        self.answers(execution, step, Outcome::Done(output)).await;
    }

    /// The first attempt at a step fails for good.
    pub(crate) async fn fails(&self, execution: ExecutionId, step: u32) {
        let error = StepError::new(ErrorClass::Permanent, "test.failed", "it broke");
        let outcome = Outcome::Failed {
            error,
            retry_after_ms: None,
        };
        self.answers(execution, step, outcome).await;
    }

    async fn answers(&self, execution: ExecutionId, step: u32, outcome: Outcome) {
        let at = Timestamp::from_micros(1_700_000_000_000_000);
        let result = JobResult {
            step,
            item: None,
            attempt: 1,
            worker: WorkerId::new("w1").expect("valid"),
            started_at: at,
            ended_at: at,
            outcome,
        };
        self.takes(execution, InputKind::JobResult(Box::new(result)))
            .await;
    }

    /// The log takes an input.
    pub(crate) async fn takes(&self, execution: ExecutionId, kind: InputKind) {
        let stored = self.writer.submit(Input { execution, kind }).await;
        stored.expect("stored");
    }

    /// Ends it: the partitions have no owner any more.
    pub(crate) async fn end(self) {
        let Self {
            writer,
            written,
            _tasks: mut tasks,
        } = self;
        tasks.shutdown().await;
        drop(writer);
        written.finished().await;
    }
}

struct Owner {
    broker: Broker,
    partition: Partition,
    state: PartitionState,
    definitions: Definitions,
}

impl Owner {
    async fn run(mut self, mut reader: LogReader, mut questions: Questions) {
        loop {
            tokio::select! {
                batch = reader.next_batch(64) => {
                    for message in batch.expect("readable") {
                        let envelope = message.envelope.expect("decodable");
                        self.load(&envelope).await;
                        let mut effects = Vec::new();
                        let (sequence, at) = (message.sequence, message.at);
                        self.state
                            .fold(sequence, at, envelope, &self.definitions, &mut effects);
                        self.carry_out(effects).await;
                    }
                }
                Some(question) = questions.next() => {
                    let reply = self.reply(&question);
                    questions.answer(question, &reply).await.expect("answers");
                }
            }
        }
    }

    async fn load(&mut self, envelope: &InputEnvelope) {
        for input in &envelope.inputs {
            match &input.kind {
                InputKind::Start(start) => self.load_one(start.workflow.hash).await,
                InputKind::Control(control) => {
                    if let ControlAction::Move { to } = &control.action {
                        self.load_one(to.hash).await;
                    }
                }
                _ => {}
            }
        }
    }

    async fn load_one(&mut self, hash: DefinitionHash) {
        let store = self.broker.definitions().await.expect("opened");
        let Some(record) = store.by_hash(hash).await.expect("asked") else {
            return;
        };
        let source = record.definition.to_string();
        let compiled = compile(&source, ReadOptions::default()).expect("valid");
        self.definitions.insert(hash, Arc::new(compiled.workflow));
    }

    async fn carry_out(&self, effects: Vec<Effect>) {
        let mut events = Vec::new();
        let mut answers = Vec::new();
        for effect in effects {
            match effect {
                Effect::History(event) => events.push(*event),
                Effect::Answer { to, outcome } => answers.push((to, outcome)),
                Effect::DeadLetter(letter) => {
                    let letter = dead_letter_message(&letter).expect("encodes");
                    self.broker.publish(letter).await.expect("stored");
                }
                _ => {}
            }
        }
        if !events.is_empty() {
            let partition = Some(self.partition);
            let batch = history_message(&HistoryBatch { partition, events });
            let stored = self.broker.publish(batch.expect("encodes")).await;
            stored.expect("stored");
        }
        for (to, outcome) in answers {
            let told = self.broker.publish_outcome(to, &outcome).await;
            told.expect("sent");
        }
    }

    fn reply(&self, question: &Question) -> QueryReply {
        match &question.query {
            Query::Show { execution } => match self.state.show(*execution) {
                Some(view) => QueryReply::Execution(Box::new(view)),
                None => QueryReply::Unknown,
            },
            Query::Explain { execution } => match self.state.explain(*execution) {
                Some(view) => QueryReply::Explained(Box::new(view)),
                None => QueryReply::Unknown,
            },
            // As one that has no counters.
            Query::Status => QueryReply::Unknown,
            Query::Holds => QueryReply::Holds(self.state.holds().to_vec()),
            Query::List { limit, filter } => {
                let listed = self.state.list(filter, *limit as usize);
                QueryReply::Executions {
                    executions: listed.executions,
                    live: self.state.live() as u64,
                    more: listed.more,
                }
            }
        }
    }
}
