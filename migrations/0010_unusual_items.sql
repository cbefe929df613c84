-- Why: the one item that failed is looked for among ten thousand of its step.
--
-- The second index on the hot table, and it costs nearly nothing: only items that did not complete are
-- in it, and an insert of any other row only asks whether it is one.
--
-- Making it reads each partition once and keeps writers of steps out meanwhile; history waits in its
-- stream.

CREATE INDEX workflow_steps_unusual_items ON workflow_steps (execution_id, step_index, item_index)
    WHERE item_index >= 0 AND status <> 'completed';
