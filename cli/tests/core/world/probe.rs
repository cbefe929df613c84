//! A worker that notes when it runs what: the only witness of what really runs at the same time.

use std::sync::{Arc, Mutex};

use afu9_schemas::{ExecutionId, JobId, WorkerKind};
use afu9_workers::tool::Toolbox;
use serde_json::{Value, json};
use tokio::time::Instant;

/// What a worker ran, and when.
#[derive(Debug, Clone, Copy)]
struct Span {
    job: JobId,
    from: Instant,
    to: Instant,
}

/// Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Probe(Arc<Mutex<Vec<Span>>>);

impl Probe {
    /// A `github.addComment` that comments on nothing. Jobs of this kind travel alone, so that the
    /// server drops a second copy of one that a successor publishes again.
    pub(crate) fn toolbox(&self) -> Toolbox {
        self.toolbox_with(|_| json!({}))
    }

    /// The same with something to say: what `output` makes of the number of comments before.
    pub(crate) fn toolbox_with(
        &self,
        output: impl Fn(usize) -> Value + Clone + Send + Sync + 'static,
    ) -> Toolbox {
        let probe = self.clone();
        let kind = WorkerKind::new("github").expect("a valid kind");
        Toolbox::new(kind).with("addComment", move |call, _params: Value| {
            let (probe, output) = (probe.clone(), output.clone());
            async move {
                let from = Instant::now();
                tokio::task::yield_now().await;
                Ok(output(probe.note(call.job, from)))
            }
        })
    }

    /// Returns how many were noted before.
    fn note(&self, job: JobId, from: Instant) -> usize {
        let to = Instant::now();
        let mut spans = self.0.lock().expect("not poisoned");
        spans.push(Span { job, from, to });
        spans.len() - 1
    }

    /// What ran, in no order.
    pub(crate) fn jobs(&self) -> Vec<JobId> {
        self.spans().iter().map(|span| span.job).collect()
    }

    /// In the order in which they began.
    fn spans(&self) -> Vec<Span> {
        let mut spans = self.0.lock().expect("not poisoned").clone();
        spans.sort_by_key(|span| (span.from, span.to));
        spans
    }

    /// The executions in the order in which something of them ran; one that comes twice was
    /// interrupted by another one.
    pub(crate) fn turns(&self) -> Vec<ExecutionId> {
        let mut turns: Vec<ExecutionId> =
            self.spans().iter().map(|span| span.job.execution).collect();
        turns.dedup();
        turns
    }

    /// Two executions of which something ran at the same time.
    pub(crate) fn overlap(&self) -> Option<(ExecutionId, ExecutionId)> {
        let mut last: Option<Span> = None;
        for span in self.spans() {
            if let Some(before) = last
                && before.to > span.from
                && before.job.execution != span.job.execution
            {
                return Some((before.job.execution, span.job.execution));
            }
            if last.is_none_or(|before| before.to < span.to) {
                last = Some(span);
            }
        }
        None
    }
}
