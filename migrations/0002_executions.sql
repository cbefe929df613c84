-- Why: one row per run of a workflow, written when it starts and again when it ends; only once where
-- both are seen together.
--
-- No foreign keys to workflows and repositories: each would cost a lookup and a lock on the same few
-- referenced rows in every insert, so that two writers wait for each other, and buys nothing, because
-- rows are written in any order from a log that has already decided. Deleting a workflow must not
-- delete its history either.
--
-- The columns of the start are null in a row whose end was seen first; the start fills them in.

CREATE TABLE workflow_executions (
    id               uuid PRIMARY KEY,
    workflow_id      uuid,
    repository_id    uuid,
    status           text NOT NULL DEFAULT 'pending'
                     CHECK (status IN ('pending', 'running', 'paused', 'completed', 'failed', 'cancelled')),
    input            jsonb,
    output           jsonb,
    context          jsonb,
    started_at       timestamptz NOT NULL DEFAULT now(),
    completed_at     timestamptz,
    -- The sentence for people; error_detail is the whole error with its class, code and causes.
    error            text,
    error_detail     jsonb,
    triggered_by     text,
    github_run_id    text,
    -- The definition the execution is pinned to. The name is kept here because the row in workflows
    -- may be a later version, or another workflow that took over the name.
    workflow_name    text,
    workflow_version integer,
    definition_hash  text,
    trigger_kind     text,
    trigger_delivery text,
    traceparent      text,
    -- Number of the newest event this row shows: an older one never overwrites it.
    event_number     integer NOT NULL,
    steps_completed  integer NOT NULL DEFAULT 0,
    steps_failed     integer NOT NULL DEFAULT 0,
    steps_skipped    integer NOT NULL DEFAULT 0,
    stale_results    integer NOT NULL DEFAULT 0,
    pause_metadata   jsonb,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now()
);

-- Lists are paged by (started_at, id), newest first; of everything, of one workflow, of one status.
CREATE INDEX workflow_executions_started ON workflow_executions (started_at, id);
CREATE INDEX workflow_executions_workflow ON workflow_executions (workflow_name, started_at, id);
-- Nearly all rows are completed and a list of those is well served by the index above; the others
-- are few and are what an operator looks for.
CREATE INDEX workflow_executions_unusual ON workflow_executions (status, started_at, id)
    WHERE status <> 'completed';
CREATE INDEX workflow_executions_repository ON workflow_executions (repository_id, started_at)
    WHERE repository_id IS NOT NULL;
