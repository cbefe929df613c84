//! One execution as its events tell of it. Where several events tell the same, the one with the
//! highest number counts: after a crash of an orchestrator events come twice.

use std::collections::HashMap;

use afu9_schemas::artifact::json_size;
use afu9_schemas::message::{
    ExecutionEnded, ExecutionStarted, HistoryEvent, HistoryKind, StatusChanged, StepEnded,
};
use afu9_schemas::view::{
    ExecutionStatus, ExecutionSummary, ExecutionView, ItemsView, PauseView, StepStatus, StepView,
};
use afu9_schemas::{ExecutionId, Timestamp};
use serde_json::Value;

use crate::executions::Relation;

/// What an execution or a step costs besides its inputs and outputs, roughly.
const ENTRY_BYTES: usize = 512;

/// What an item costs, of which only the status is kept, roughly.
const ITEM_BYTES: usize = 64;

/// One execution.
#[derive(Debug)]
pub(super) struct Entry {
    view: ExecutionView,
    /// Number of the event that told its status.
    told: u32,
    /// By the step's position: number of the event that told its end.
    steps: HashMap<u32, u32>,
    /// By step and item: number of the event that told its end, and how it ended.
    items: HashMap<(u32, u32), (u32, StepStatus)>,
    bytes: usize,
}

impl Entry {
    pub(super) fn new(
        id: ExecutionId,
        number: u32,
        at: Timestamp,
        started: ExecutionStarted,
    ) -> Self {
        let bytes = ENTRY_BYTES + json_size(&started.input);
        let default_branch = started
            .repository
            .as_ref()
            .and_then(|repository| repository.default_branch.clone());
        let view = ExecutionView {
            summary: ExecutionSummary {
                id,
                workflow_id: started.workflow.id,
                workflow: started.workflow.name,
                version: started.workflow.version,
                status: started.status,
                triggered_by: started.trigger.by,
                started_at: at,
                completed_at: None,
            },
            input: started.input,
            output: None,
            error: None,
            repository: started
                .repository
                .map(|r| format!("{}/{}", r.owner, r.name)),
            default_branch,
            lane: started.lane,
            priority: started.priority,
            steps: Vec::new(),
            paused: None,
            key: started.key,
            parent: started.parent,
            rerun_of: started.rerun_of,
            rerun_reason: started.rerun_reason,
            signals: 0,
            truncated: false,
        };
        Self {
            view,
            told: number,
            steps: HashMap::new(),
            items: HashMap::new(),
            bytes,
        }
    }

    /// Roughly what it costs.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn summary(&self) -> &ExecutionSummary {
        &self.view.summary
    }

    /// Everything known of it, with its items counted.
    pub(super) fn view(&self) -> ExecutionView {
        let mut view = self.view.clone();
        for ((step, _), (_, status)) in &self.items {
            let Some(step) = view.steps.iter_mut().find(|known| known.index == *step) else {
                continue;
            };
            let items = step.items.get_or_insert_default();
            *items = counted(*items, *status);
        }
        view
    }

    pub(super) fn is_related(&self, relation: Option<&Relation>) -> bool {
        match relation {
            None => true,
            Some(Relation::Key(key)) => self.view.key.as_ref() == Some(key),
            Some(Relation::Parent(id)) => self.view.parent.is_some_and(|p| p.execution == *id),
            Some(Relation::RerunOf(id)) => self.view.rerun_of == Some(*id),
        }
    }

    /// Takes in what happened; returns by how many bytes it grew.
    pub(super) fn take(&mut self, event: HistoryEvent) -> usize {
        let (number, at) = (event.number, event.at);
        let added = match event.kind {
            HistoryKind::StepEnded(ended) => self.step_ended(number, at, *ended),
            HistoryKind::StatusChanged(changed) if self.is_news(number) => {
                self.status_changed(at, *changed);
                0
            }
            HistoryKind::ExecutionEnded(ended) if self.is_news(number) => self.ended(at, *ended),
            HistoryKind::ExecutionStarted(_)
            | HistoryKind::StepProgressed(_)
            | HistoryKind::StatusChanged(_)
            | HistoryKind::ExecutionEnded(_)
            | HistoryKind::DefinitionApplied(_)
            | HistoryKind::Controlled(_) => 0,
        };
        self.bytes += added;
        added
    }

    /// Whether the event with this number tells a newer status.
    fn is_news(&mut self, number: u32) -> bool {
        let news = number > self.told;
        self.told = self.told.max(number);
        news
    }

    /// A step that ends again costs twice: such steps are few, and the bound is not exact anyway.
    fn step_ended(&mut self, number: u32, at: Timestamp, ended: StepEnded) -> usize {
        if let Some(item) = ended.item {
            let told = self
                .items
                .insert((ended.index, item), (number, ended.status));
            return match told {
                Some(before) if before.0 > number => {
                    self.items.insert((ended.index, item), before);
                    0
                }
                Some(_) => 0,
                None => ITEM_BYTES,
            };
        }
        let told = self.steps.entry(ended.index).or_insert(0);
        if *told >= number {
            return 0;
        }
        *told = number;
        let size = |value: &Option<Value>| value.as_ref().map_or(0, json_size);
        let added = ENTRY_BYTES + size(&ended.input) + size(&ended.output);
        let steps = &mut self.view.steps;
        steps.retain(|step| step.index != ended.index);
        steps.push(step_view(at, ended));
        steps.sort_by_key(|step| step.index);
        added
    }

    fn status_changed(&mut self, at: Timestamp, changed: StatusChanged) {
        let view = &mut self.view;
        view.summary.status = changed.status;
        view.paused = (changed.status == ExecutionStatus::Paused).then(|| PauseView {
            by: changed.by.unwrap_or_default(),
            reason: changed.reason,
            at,
        });
        if let Some(workflow) = changed.workflow {
            view.summary.version = workflow.version;
        }
        // What had failed goes on.
        view.summary.completed_at = None;
        view.output = None;
        view.error = None;
    }

    fn ended(&mut self, at: Timestamp, ended: ExecutionEnded) -> usize {
        let added = ended.output.as_ref().map_or(0, json_size);
        let view = &mut self.view;
        view.summary.status = ended.status;
        view.summary.completed_at = Some(at);
        view.paused = None;
        view.output = ended.output;
        view.error = ended.error;
        added
    }
}

fn counted(items: ItemsView, status: StepStatus) -> ItemsView {
    ItemsView {
        total: items.total + 1,
        completed: items.completed + u32::from(status == StepStatus::Completed),
        failed: items.failed + u32::from(status == StepStatus::Failed),
        in_progress: 0,
    }
}

fn step_view(at: Timestamp, ended: StepEnded) -> StepView {
    StepView {
        index: ended.index,
        name: ended.name,
        tool: ended.tool,
        status: ended.status,
        input: ended.input,
        output: ended.output,
        error: ended.error,
        started_at: Some(ended.started_at),
        completed_at: Some(at),
        attempts: ended.attempts,
        waiting_until: None,
        progress: None,
        item: None,
        role: ended.role,
        action: ended.action,
        items: None,
        decisions: Vec::new(),
        message: None,
        child: None,
    }
}
