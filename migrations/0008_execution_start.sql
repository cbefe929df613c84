-- Why: whoever repeats an execution that its orchestrator has let go repeats what it was started with:
-- the branch of its repository that its trigger knew, its queue and its priority. And a repetition says
-- why it was wished.
--
-- All are columns of the start: null in a row whose end was seen first, and in rows written before.

ALTER TABLE workflow_executions
    ADD COLUMN default_branch text,
    ADD COLUMN lane           text,
    ADD COLUMN priority       integer,
    ADD COLUMN rerun_reason   text;
