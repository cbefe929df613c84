//! A step that runs once for each item of a list.
//!
//! Items begin in order, at most `maxParallel` at once. When one fails for good no further one
//! begins, and the step fails once those in progress have ended; with `continueOnError` all of them
//! run, and the output holds `null` in the place of each that failed.

use afu9_schemas::definition::MAX_ITEMS;
use afu9_schemas::error::{ErrorClass, StepError};
use afu9_schemas::message::{HistoryKind, StepEnded};
use afu9_schemas::view::StepStatus;
use serde_json::Value;

use super::advance::expression_error;
use super::step::{Body, ItemRun, Items, Unit};
use super::{Cx, Execution, MAX_FOLD_COST, MAX_ITEM_PARAMS_BYTES, weight};

/// What is told of items that failed: more than a few are of the same sort.
const MAX_ERRORS_TOLD: usize = 5;

impl Execution {
    pub(super) fn items(&self, step: u32) -> Option<&Items> {
        match &self.steps.get(step as usize)?.run.as_ref()?.body {
            Body::Each(items) => Some(items),
            Body::One(_) => None,
        }
    }

    fn items_mut(&mut self, step: u32) -> Option<&mut Items> {
        match &mut self.steps.get_mut(step as usize)?.run.as_mut()?.body {
            Body::Each(items) => Some(items),
            Body::One(_) => None,
        }
    }

    /// Works out the list and begins the first items.
    pub(super) fn begin_each(&mut self, step: u32, cx: &mut Cx<'_>) {
        if self.items(step).is_none() {
            match self.render_list(step, cx) {
                Ok(list) => {
                    let outputs = vec![None; list.len()];
                    if let Some(run) = &mut self.steps[step as usize].run {
                        run.body = Body::Each(Box::new(Items {
                            list,
                            outputs,
                            ..Items::default()
                        }));
                    }
                }
                Err(error) => {
                    self.fail_step(step, &error, cx);
                    return;
                }
            }
        }
        self.steps[step as usize].status = StepStatus::Running;
        self.begin_items(step, cx);
    }

    fn render_list(&mut self, step: u32, cx: &Cx<'_>) -> Result<Vec<Value>, StepError> {
        let node = &cx.workflow.nodes[step as usize];
        let Some(each) = &node.for_each else {
            return Ok(Vec::new());
        };
        let rendered = each
            .list
            .render(&self.scope(cx.workflow, step))
            .map_err(|(at, error)| expression_error(&format!("forEach{at}"), &error))?;
        let refused =
            |code: &str, message: String| Err(StepError::new(ErrorClass::Permanent, code, message));
        let Value::Array(list) = rendered else {
            let sort = match rendered {
                Value::Null => "null",
                Value::Bool(_) => "a boolean",
                Value::Number(_) => "a number",
                Value::String(_) => "a text",
                Value::Array(_) | Value::Object(_) => "an object",
            };
            return refused(
                "forEach.not_a_list",
                format!("forEach needs a list, this is {sort}"),
            );
        };
        if list.len() > MAX_ITEMS {
            let items = list.len();
            return refused(
                "forEach.too_many",
                format!("the list has {items} items, at most {MAX_ITEMS} are allowed"),
            );
        }
        self.take_room(list.iter().map(weight).sum())?;
        Ok(list)
    }

    /// Begins as many items as may run beside those that do; ends the step if there are none left.
    pub(super) fn begin_items(&mut self, step: u32, cx: &mut Cx<'_>) {
        if self.steps[step as usize].status != StepStatus::Running {
            return;
        }
        while self.halted_since.is_none() {
            if cx.out.cost >= MAX_FOLD_COST && self.items(step).is_some_and(Items::has_more) {
                self.breathes = true;
                break;
            }
            match self.next_item(step, cx) {
                Some(item) => self.begin_unit(step, Some(item), cx),
                None => break,
            }
        }
        self.end_items(step, cx);
    }

    /// Notes the parameters of a unit.
    pub(super) fn set_params(
        &mut self,
        step: u32,
        item: Option<u32>,
        params: Value,
    ) -> Result<(), StepError> {
        let bytes = weight(&params);
        if item.is_none() {
            self.take_room(bytes)?;
        } else if let Some(items) = self.items_mut(step) {
            items.params_bytes += bytes;
        }
        if let Some(unit) = self.unit_mut(step, item) {
            unit.params = Some(params);
        }
        Ok(())
    }

    /// Takes the next item to begin, if one may.
    fn next_item(&mut self, step: u32, cx: &Cx<'_>) -> Option<u32> {
        let node = &cx.workflow.nodes[step as usize];
        let most = node.for_each.as_ref()?.max_parallel as usize;
        let tolerant = node.continue_on_error;
        let now = cx.now;
        let items = self.items_mut(step)?;
        let full = items.active.len() >= most || items.params_bytes >= MAX_ITEM_PARAMS_BYTES;
        if full || (!items.errors.is_empty() && !tolerant) {
            return None;
        }
        let (item, unit) = match items.again.pop() {
            Some(again) => again,
            None if (items.next as usize) < items.list.len() => {
                items.next += 1;
                (items.next - 1, Unit::default())
            }
            None => return None,
        };
        let run = ItemRun {
            started_at: now,
            error: None,
            unit,
        };
        items.active.insert(item, run);
        Some(item)
    }

    /// Ends the step if no item is in progress and none is to begin.
    fn end_items(&mut self, step: u32, cx: &mut Cx<'_>) {
        let tolerant = cx.workflow.nodes[step as usize].continue_on_error;
        let Some(items) = self.items_mut(step) else {
            return;
        };
        let left = items.has_more();
        let failed = !items.errors.is_empty();
        if !items.active.is_empty() || (left && (tolerant || !failed)) {
            return;
        }
        let total = items.list.len();
        let error = failed.then(|| items_error(items, total));
        let output = if tolerant || !failed {
            let outputs = items.outputs.iter();
            let list = outputs.map(|output| output.clone().unwrap_or_default());
            Some(Value::Array(list.collect()))
        } else {
            None
        };
        if output.is_some() {
            // What each item was is not needed any more: it is not retried by hand.
            let list = std::mem::take(&mut items.list);
            items.outputs = Vec::new();
            self.give_room(list.iter().map(weight).sum());
        }
        if let Some(run) = &mut self.steps[step as usize].run {
            run.output = output;
        }
        match error {
            Some(error) => self.fail_step(step, &error, cx),
            None => self.end_step(step, StepStatus::Completed, cx),
        }
    }

    pub(super) fn item_completed(&mut self, step: u32, item: u32, output: Value, cx: &mut Cx<'_>) {
        self.record_item(step, item, StepStatus::Completed, Some(&output), None, cx);
        if let Some(items) = self.items_mut(step) {
            items.take_active(item);
            items.completed += 1;
            let done = items.list.get_mut(item as usize).map(Value::take);
            if let Some(place) = items.outputs.get_mut(item as usize) {
                *place = Some(output).filter(|output| !output.is_null());
            }
            self.give_room(done.as_ref().map_or(0, weight));
        }
    }

    pub(super) fn item_failed(&mut self, step: u32, item: u32, error: StepError, cx: &mut Cx<'_>) {
        self.record_item(step, item, StepStatus::Failed, None, Some(&error), cx);
        if let Some(items) = self.items_mut(step) {
            if let Some(run) = items.take_active(item) {
                // Its attempts: should it be retried by hand, their numbers go on.
                let unit = Unit {
                    wait: None,
                    deferred: None,
                    params: None,
                    ..run.unit
                };
                items.failed.insert(item, unit);
            }
            items.errors.insert(item, error);
        }
    }

    fn record_item(
        &mut self,
        step: u32,
        item: u32,
        status: StepStatus,
        output: Option<&Value>,
        error: Option<&StepError>,
        cx: &mut Cx<'_>,
    ) {
        let node = &cx.workflow.nodes[step as usize];
        let Some(run) = self.items(step).and_then(|items| items.active.get(&item)) else {
            return;
        };
        let ended = StepEnded {
            index: step,
            item: Some(item),
            role: node.role,
            action: node.action.sort(),
            name: node.name.clone(),
            tool: node.tool().cloned(),
            status,
            input: run.unit.params.clone(),
            output: output.cloned(),
            error: error.cloned(),
            started_at: run.started_at,
            attempts: run.unit.attempts.clone(),
        };
        self.record(HistoryKind::StepEnded(Box::new(ended)), cx);
    }

    /// Ends every item in progress from outside.
    pub(super) fn stop_items(&mut self, step: u32, error: &StepError, cx: &mut Cx<'_>) {
        let active: Vec<u32> = self
            .items(step)
            .map(|items| items.active.keys().copied().collect())
            .unwrap_or_default();
        for item in active {
            if let Some(unit) = self.unit_mut(step, Some(item)) {
                unit.attempt_ended(Some(error), cx.now);
            }
            self.item_failed(step, item, error.clone(), cx);
        }
    }
}

/// The error of a step of which items failed.
fn items_error(items: &Items, total: usize) -> StepError {
    let failed = items.errors.len();
    let told: Vec<String> = items
        .errors
        .iter()
        .take(MAX_ERRORS_TOLD)
        .map(|(item, error)| format!("item {item}: {}", error.message))
        .collect();
    let first = items.errors.values().next();
    let mut error = StepError::new(
        first.map_or(ErrorClass::Permanent, |error| error.class),
        "forEach.items_failed",
        format!("{failed} of {total} items failed; {}", told.join("; ")),
    );
    error.chain = items
        .errors
        .values()
        .take(MAX_ERRORS_TOLD)
        .map(|error| error.code.clone())
        .collect();
    error
}
