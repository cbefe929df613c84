//! What the simulated factory runs.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use afu9_engine::{Definitions, Workflow};
use afu9_schemas::message::WorkflowRef;

use crate::inputs;

/// The workflow whose ends start [`FOLLOWER`].
pub(crate) const FOLLOWED: &str = "plain";

/// Started by ends of others.
pub(crate) const FOLLOWER: &str = "follower";

/// Workflows that are started from outside, those that are wanted more often more than once.
pub(crate) const STARTED: [&str; 28] = [
    "plain",
    "plain",
    "saga",
    "saga",
    "diamond",
    "diamond",
    "list",
    "list",
    "wide",
    "single",
    "single",
    "single",
    "pool",
    "latest",
    "newest",
    "coalesced",
    "slow",
    "slow",
    "quiet",
    "asked",
    "signalled",
    "sleepy",
    "parent",
    "parent",
    "timed",
    "checked",
    "patient",
    "patient",
];

const SOURCES: [&str; 24] = [
    "
name: plain
steps:
  - { name: a, tool: test.noop }
  - { name: b, tool: test.echo, params: { value: \"${steps.a.status}\" }, retry: { maxAttempts: 2,
        initialDelayMs: 100 } }
output: { b: \"${steps.b.output}\" }
",
    "
name: plain
steps:
  - { name: a, tool: test.noop }
  - { name: b, tool: test.echo, params: { value: \"${steps.a.status}\" }, retry: { maxAttempts: 2,
        initialDelayMs: 100 } }
  - { name: c, tool: test.noop, compensate: { tool: test.noop } }
",
    "{ name: follower, steps: [{ name: a, tool: test.noop }] }",
    "
name: saga
config: { cleanupTimeoutMs: 20000 }
onFailure: [{ name: tell, tool: test.echo, params: { value: \"${failure.step}\" } }]
steps:
  - { name: a, tool: test.noop, compensate: { tool: test.noop } }
  - { name: b, tool: test.noop, compensate: { tool: test.noop, retry: { maxAttempts: 2, initialDelayMs: 100 } } }
  - { name: c, tool: test.noop, retry: { maxAttempts: 2, initialDelayMs: 100 } }
  - { name: d, tool: test.noop, retry: { maxAttempts: 1 }, compensate: { tool: test.noop } }
  - { name: e, tool: test.noop, retry: { maxAttempts: 1 } }
",
    "
name: diamond
steps:
  - { name: a, tool: test.noop, needs: [], assign: first }
  - { name: b, tool: test.echo, needs: [a], params: { value: \"${first.value}\" }, compensate: { tool: test.noop } }
  - { name: c, tool: test.noop, needs: [a], continueOnError: true, retry: { maxAttempts: 1 } }
  - { name: d, tool: test.echo, needs: [b, c], params: { value: \"${steps.c.status}\" } }
  - { name: e, tool: test.noop, needs: [], timeoutMs: 3000, retry: { maxAttempts: 3, initialDelayMs: 500 } }
",
    "
name: list
steps:
  - { name: each, forEach: \"${input.items}\", maxParallel: 2, tool: test.echo, params: { value: \"${item}\" },
      retry: { maxAttempts: 2, initialDelayMs: 100 } }
  - { name: sum, forEach: \"${steps.each.output}\", as: one, maxParallel: 3, continueOnError: true,
      tool: test.echo, params: { value: \"${one_index}\" } }
",
    "
name: wide
steps:
  - { name: each, forEach: \"${input.many}\", maxParallel: 100, continueOnError: true, timeoutMs: 60000,
      tool: github.getIssue, params: { owner: o, repo: r, number: \"${item}\" }, retry: { maxAttempts: 2,
            initialDelayMs: 100 } }
",
    "
name: single
concurrency: { key: \"${input.k}\", limit: 1, onConflict: queue }
steps:
  - { name: a, tool: test.noop, timeoutMs: 2000, retry: { maxAttempts: 2, initialDelayMs: 100 } }
  - { name: b, tool: test.noop }
",
    "
name: pool
concurrency: { key: \"${input.k}\", scope: global, limit: 2, onConflict: queue }
priority: 5
steps: [{ name: a, tool: test.noop }]
",
    "
name: latest
concurrency: { key: \"${input.k}\", limit: 1, onConflict: cancel_running }
steps:
  - { name: a, tool: test.noop, compensate: { tool: test.noop } }
  - { name: b, tool: test.noop }
",
    "
name: newest
concurrency: { key: \"${input.k}\", limit: 1, onConflict: cancel_newest }
steps: [{ name: a, tool: test.noop }]
",
    "
name: coalesced
concurrency: { key: \"${input.k}\", scope: global, limit: 1, onConflict: coalesce }
steps: [{ name: a, tool: test.noop }]
",
    "
name: slow
rateLimit: { key: \"${input.k}\", limit: 2, periodMs: 1000 }
concurrency: { key: \"${input.k}\", limit: 3 }
steps: [{ name: a, tool: test.noop }]
",
    "
name: patient
steps:
  - { name: a, tool: test.wait, params: { times: 2 }, timeoutMs: 5000, retry: { maxAttempts: 2, initialDelayMs: 100 },
      compensate: { tool: test.noop } }
  - { name: b, tool: test.wait, params: { times: 2 }, timeoutMs: 1000, continueOnError: true }
  - { name: c, forEach: \"${[1, 2, 3]}\", tool: test.wait, params: { times: 2 }, continueOnError: true }
",
    "
name: quiet
debounce: { key: \"${input.k}\", periodMs: 300, maxWaitMs: 900 }
steps: [{ name: a, tool: test.noop }]
",
    "
name: asked
steps:
  - { name: ask, approval: { scope: approve, approvals: 2, selfApproval: false } }
  - { name: b, tool: test.noop }
",
    "
name: signalled
steps:
  - { name: wait, needs: [], waitFor: { signal: go, filter: \"${signal.ok}\", onTimeout: continue }, timeoutMs: 5000 }
  - { name: other, needs: [], waitFor: stop }
  - { name: b, needs: [wait, other], tool: test.echo, params: { value: \"${steps.other.output}\" } }
",
    "
name: sleepy
steps:
  - { name: a, sleep: { for: 1h } }
  - { name: b, tool: test.noop }
",
    "
name: parent
steps:
  - { name: a, tool: test.noop, needs: [], compensate: { tool: test.noop } }
  - { name: run, needs: [], workflow: { name: child, input: { k: \"${input.k}\" } }, timeoutMs: 30000,
      retry: { maxAttempts: 2, initialDelayMs: 100, on: [permanent, timeout] } }
  - { name: each, needs: [run], forEach: \"${input.items}\", maxParallel: 2, continueOnError: true,
      workflow: { name: child, input: { k: \"${item}\" } } }
  - { name: leave, needs: [run], workflow: { name: grandchild, input: {}, wait: false } }
  - { name: none, needs: [leave], continueOnError: true, workflow: nobody }
",
    "
name: child
steps:
  - { name: c, tool: test.noop, retry: { maxAttempts: 1 } }
output: { v: 1, k: \"${input.k}\" }
",
    "
name: child
concurrency: { key: \"${input.k}\", limit: 1 }
steps:
  - { name: c, tool: test.noop, retry: { maxAttempts: 1 } }
  - { name: deeper, workflow: grandchild }
output: { v: 2, k: \"${input.k}\" }
",
    "{ name: grandchild, steps: [{ name: g, tool: test.noop }] }",
    "
name: timed
config: { timeoutMs: 4000, cleanupTimeoutMs: 1500 }
steps:
  - { name: a, tool: test.noop, timeoutMs: 1000, compensate: { tool: test.noop, timeoutMs: 1000 } }
  - { name: b, tool: test.noop, timeoutMs: 1000, retry: { maxAttempts: 3, initialDelayMs: 1000 } }
  - { name: c, tool: test.noop }
onFailure:
  - { name: tell, tool: test.noop, timeoutMs: 1000 }
",
    "
name: checked
inputSchema: { type: object, properties: { k: { type: integer, maximum: 1 }, more: { default: 7 } } }
steps: [{ name: a, tool: test.echo, params: { value: \"${input.more}\" } }]
",
];

/// Everything that is defined.
pub(crate) struct Catalogue {
    pub(crate) definitions: Definitions,
    /// Versions of each workflow, the oldest first.
    versions: BTreeMap<String, Vec<(WorkflowRef, Arc<Workflow>)>>,
}

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let mut catalogue = Catalogue {
        definitions: Definitions::default(),
        versions: BTreeMap::new(),
    };
    for source in SOURCES {
        let (mut reference, workflow) = inputs::compiled(source);
        let versions = catalogue
            .versions
            .entry(reference.name.clone())
            .or_default();
        reference.version = u32::try_from(versions.len()).expect("few") + 1;
        catalogue
            .definitions
            .insert(reference.hash, Arc::clone(&workflow));
        versions.push((reference, workflow));
    }
    catalogue
});

pub(crate) fn catalogue() -> &'static Catalogue {
    &CATALOGUE
}

impl Catalogue {
    /// A version of a workflow: the one numbered `newest`, or the newest there is below it.
    pub(crate) fn version(
        &self,
        name: &str,
        newest: usize,
    ) -> Option<&(WorkflowRef, Arc<Workflow>)> {
        let versions = self.versions.get(name)?;
        versions.get(newest.clamp(1, versions.len()) - 1)
    }
}
