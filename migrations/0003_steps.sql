-- Why: one row per step, written once, when the step has ended. This is the hot table: its width and
-- its indexes decide how many steps per second the control plane can remember.
--
-- - The only index is the primary key. It makes a repetition harmless, because started_at is the
--   same at every replay of the log, and it finds the steps of an execution. There is no index on
--   status: a step is looked for through its execution.
-- - `id` is derived from (execution, step), see `afu9-history`; it needs no index because nothing
--   looks a step up by it.
-- - No foreign key to the execution (its row may come later), no triggers.
-- - Months (UTC) are partitions, so that retention is a DROP. afu9_ensure_step_partitions makes them
--   ahead of time; the default partition takes whatever has none yet, so that nothing is refused,
--   and is emptied by the same function.

CREATE TABLE workflow_steps (
    id           uuid NOT NULL,
    execution_id uuid NOT NULL,
    step_name    text NOT NULL,
    step_index   integer NOT NULL,
    status       text NOT NULL
                 CHECK (status IN ('pending', 'running', 'waiting', 'completed', 'failed', 'skipped', 'compensated')),
    tool         text,
    input        jsonb,
    output       jsonb,
    started_at   timestamptz NOT NULL,
    completed_at timestamptz,
    -- From the first dispatch to the end, waits included; bigint, because a wait may take months.
    duration_ms  bigint,
    -- The sentence for people; error_detail is the whole error with its causes.
    error        text,
    error_class  text,
    error_detail jsonb,
    retry_count  integer NOT NULL DEFAULT 0,
    -- Every attempt in order; null for a step that was never dispatched.
    attempts     jsonb,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (execution_id, step_index, started_at)
) PARTITION BY RANGE (started_at);

CREATE TABLE workflow_steps_default PARTITION OF workflow_steps DEFAULT;

-- Makes the partitions of last month, this month and `months_ahead` more, and of every month that has
-- rows in the default partition, which move over. Returns how many it made. Safe to call from several
-- processes at once and at any time.
--
-- Partitions are made apart and then attached, because CREATE TABLE … PARTITION OF would lock out
-- readers of every month. lock_timeout bounds how long writers can queue behind us when a long query
-- holds the default partition; the caller tries again later.
CREATE FUNCTION afu9_ensure_step_partitions(months_ahead integer) RETURNS integer
LANGUAGE plpgsql
SET lock_timeout = '5s'
SET timezone = 'UTC'
AS $$
DECLARE
    month     timestamptz;
    partition text;
    made      integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('afu9_ensure_step_partitions', 0));
    FOR month IN
        SELECT date_trunc('month', now()) + make_interval(months => ahead)
        FROM generate_series(-1, months_ahead) AS ahead
        UNION
        -- What lies outside these years is a broken clock, not history; it stays where it is.
        SELECT date_trunc('month', started_at)
        FROM workflow_steps_default
        WHERE started_at >= '2000-01-01' AND started_at < '2200-01-01'
        ORDER BY 1
    LOOP
        partition := 'workflow_steps_' || to_char(month, 'YYYY_MM');
        CONTINUE WHEN to_regclass(partition) IS NOT NULL;

        -- Before anything moves: a row that arrived in between would make the attachment fail.
        LOCK TABLE workflow_steps_default IN ACCESS EXCLUSIVE MODE;
        -- Rows never change once written, so the first vacuum may as well freeze them: the second
        -- pass over the whole partition, against transaction id wraparound, then has nothing to do.
        EXECUTE format(
            'CREATE TABLE %I (LIKE workflow_steps INCLUDING ALL) WITH (autovacuum_freeze_min_age = 0)',
            partition);
        EXECUTE format(
            'WITH moved AS (
                 DELETE FROM workflow_steps_default WHERE started_at >= %1$L AND started_at < %2$L RETURNING *
             )
             INSERT INTO %3$I SELECT * FROM moved',
            month, month + interval '1 month', partition);
        EXECUTE format(
            'ALTER TABLE workflow_steps ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            partition, month, month + interval '1 month');
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;
