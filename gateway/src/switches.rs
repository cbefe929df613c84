//! What stays off until somebody turns it on again: workflows that are disabled, schedules that are
//! paused. Both are kept in buckets, not in the log: they concern what starts executions, and no
//! execution.
//!
//! A switch is a wish like any other for those who look back: it is told to history, and so becomes a
//! row of the audit log. It is turned first and told then; a caller who hears of a failure in between
//! repeats its request, which turns nothing twice and tells it again.

use afu9_broker::history::history_message;
use afu9_broker::kv::{SchedulePause, ScheduleStore};
use afu9_broker::{PublishError, RequestError};
use afu9_schemas::message::{
    Control, ControlOutcome, ControlRecord, DefinitionRecord, HistoryBatch, HistoryEvent,
    HistoryKind, ScheduleRef, Switched,
};
use thiserror::Error;

use crate::app::{App, now};

/// Why a switch may not be turned, or not be told.
#[derive(Debug, Error)]
pub(crate) enum SwitchError {
    #[error("the switch could not be turned")]
    Turn(#[from] RequestError),
    #[error("the switch is turned and could not be told")]
    Tell(#[from] PublishError),
}

impl App {
    /// Lets a workflow be started, or not any more. `None` if there is no such workflow.
    ///
    /// # Errors
    /// When it may not be done; repeating it as the same request is harmless.
    pub(crate) async fn switch_workflow(
        &self,
        name: &str,
        enabled: bool,
        control: Control,
    ) -> Result<Option<(DefinitionRecord, ControlOutcome)>, SwitchError> {
        let store = self.definitions.store().await?;
        let Some((record, outcome)) = store.switch(name, enabled, &control, now()).await? else {
            return Ok(None);
        };
        self.catalog.note(&self.definitions.applied(record.clone()));
        let told = HistoryEvent {
            execution: None,
            number: record.workflow.version,
            at: record
                .switched
                .as_ref()
                .map_or(record.applied_at, |last| last.at),
            kind: HistoryKind::DefinitionApplied(Box::new(record.clone())),
        };
        let last = record.switched.as_ref();
        self.tell(control, &outcome, last, vec![told]).await?;
        Ok(Some((record, outcome)))
    }

    /// Pauses a schedule, or lets it go on.
    ///
    /// # Errors
    /// When it may not be done; repeating it as the same request is harmless.
    pub(crate) async fn switch_schedule(
        &self,
        of: &ScheduleRef,
        paused: bool,
        control: Control,
    ) -> Result<(Option<SchedulePause>, ControlOutcome), SwitchError> {
        let store = self.schedule_store().await?;
        let (pause, outcome) = store.switch(of, paused, &control, now()).await?;
        let last = pause.as_ref().map(|pause| &pause.last);
        self.tell(control, &outcome, last, Vec::new()).await?;
        Ok((pause, outcome))
    }

    /// What is stored of schedules.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub(crate) async fn schedule_store(&self) -> Result<&ScheduleStore, RequestError> {
        self.schedules
            .get_or_try_init(|| self.broker.schedules())
            .await
    }

    /// Puts a wish on record that is no input of an execution, with what else is to be told.
    ///
    /// # Errors
    /// When it may not be on record; repeating it as the same request is harmless.
    pub(crate) async fn tell(
        &self,
        control: Control,
        outcome: &ControlOutcome,
        last: Option<&Switched>,
        mut events: Vec<HistoryEvent>,
    ) -> Result<(), PublishError> {
        // The same request again tells what came of it the first time: that may not be on record.
        let turned = last.is_some_and(|last| last.knows(control.request));
        let outcome = if turned {
            ControlOutcome::Applied
        } else {
            outcome.clone()
        };
        let record = ControlRecord {
            execution: None,
            control,
            outcome,
        };
        events.push(HistoryEvent {
            execution: None,
            number: 0,
            at: now(),
            kind: HistoryKind::Controlled(Box::new(record)),
        });
        let batch = HistoryBatch {
            partition: None,
            events,
        };
        self.broker.publish(history_message(&batch)?).await?;
        Ok(())
    }
}
