-- Why: a step may run once for each item, and its row is no longer written once and for all: a step
-- that was compensated ends a second time, and one that is retried by hand ends again.
--
-- - Each item is a row beside the row of the step as a whole. Ten thousand of them are written like
--   any others: by arrays, with the primary key as the only index. The new column lies in what was
--   padding of the key's entries, so the index does not grow.
-- - A second end of the same run (compensation) has the same started_at and so the same row;
--   event_number decides which end it shows, in whatever order they come. A retry by hand begins at
--   another instant, so it is another row, and the newest is the one to show.
-- - role and action have no CHECK: it would cost every insert, and refuse what was accepted already.
--
-- The defaults are what every row written so far is, and what an older process means while it still
-- writes beside a newer one.
--
-- Changing the key reads each partition once and keeps readers and writers of steps out meanwhile,
-- about a second for a million rows. History waits in its stream; no execution notices.

ALTER TABLE workflow_steps
    -- Position of the item; -1 for the step as a whole, because a key column cannot be null.
    ADD COLUMN item_index   integer NOT NULL DEFAULT -1,
    -- Number of the event this row shows: an older one never overwrites it.
    ADD COLUMN event_number integer NOT NULL DEFAULT 0,
    -- What the step is for: main, compensation, on_failure.
    ADD COLUMN role         text NOT NULL DEFAULT 'main',
    -- What it does: tool, approval, wait_for, sleep, workflow.
    ADD COLUMN action       text NOT NULL DEFAULT 'tool';

ALTER TABLE workflow_steps
    DROP CONSTRAINT workflow_steps_pkey,
    ADD PRIMARY KEY (execution_id, step_index, item_index, started_at);

-- Which item of the step the call was made for; null where the step runs once.
ALTER TABLE mcp_tool_calls ADD COLUMN item_index integer;
