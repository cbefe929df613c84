-- Why: executions wait for a key, run other executions, repeat earlier ones, are paused, moved to
-- another version, and retried by hand after they have failed.
--
-- event_number still says which event the row shows, so an execution that goes on after its end is
-- unfinished again. Two things are not told by every event and are numbered by themselves: the
-- version (by the start and by moves) and the pause (by all but a move of a paused execution). With
-- that, events give the same row in whatever order they come.
--
-- trigger_kind may now be `workflow` and `rerun`; it has no CHECK that would have to know.

ALTER TABLE workflow_executions
    -- What it contends for.
    ADD COLUMN concurrency_key     text,
    -- The step of another execution that runs it: position, item (null where that step runs once),
    -- attempt, whether the step waits for the end, how many executions stand above this one.
    ADD COLUMN parent_execution_id uuid,
    ADD COLUMN parent_step_index   integer,
    ADD COLUMN parent_item_index   integer,
    ADD COLUMN parent_attempt      integer,
    ADD COLUMN parent_waits        boolean,
    ADD COLUMN parent_depth        integer,
    -- The execution it repeats.
    ADD COLUMN rerun_of            uuid,
    ADD COLUMN steps_compensated   integer NOT NULL DEFAULT 0,
    -- Number of the event that told workflow_version and definition_hash.
    ADD COLUMN version_event       integer NOT NULL DEFAULT 0,
    -- Number of the event that told pause_metadata: {pausedAt, pausedBy, reason} while it is paused,
    -- else null. Who resumed it is in audit_log.
    ADD COLUMN pause_event         integer NOT NULL DEFAULT 0;

-- Most executions have none of these, and then they cost nothing. Lists are paged by (started_at,
-- id); what one execution runs or is repeated by is few enough to be sorted.
CREATE INDEX workflow_executions_key ON workflow_executions (concurrency_key, started_at, id)
    WHERE concurrency_key IS NOT NULL;
CREATE INDEX workflow_executions_parent
    ON workflow_executions (parent_execution_id, parent_step_index, parent_item_index)
    WHERE parent_execution_id IS NOT NULL;
CREATE INDEX workflow_executions_rerun ON workflow_executions (rerun_of)
    WHERE rerun_of IS NOT NULL;
