-- Why: who wished what changed about which execution, with what right, and what came of it.
--
-- Append-only by convention: no statement of AFU-9 updates or deletes a row, and a second record of
-- the same wish changes nothing. A trigger that forbade it would only stand in the way of retention,
-- which is a DELETE by age, and would stop nobody who can drop triggers. What shall make tampering
-- visible is a chain of hashes over the rows in the order of (at, request_id), which is to come.
--
-- A wish about a scope (everything, a workflow, a worker kind) is recorded by every partition; the
-- record that is written first stays.

CREATE TABLE audit_log (
    request_id   uuid PRIMARY KEY,
    -- When it was decided, by the log's clock.
    at           timestamptz NOT NULL,
    -- Null for a wish about a scope.
    execution_id uuid,
    action       text NOT NULL,
    by           text NOT NULL,
    scopes       text[] NOT NULL,
    reason       text,
    -- The action's own data; a payload too large for here is represented by its size.
    details      jsonb,
    -- applied, unchanged or refused; code and message say why it was refused.
    outcome      text NOT NULL,
    code         text,
    message      text,
    created_at   timestamptz NOT NULL DEFAULT now()
);

-- Pages go by (at, request_id), newest first; of everything, of one execution, of one action.
CREATE INDEX audit_log_at ON audit_log (at, request_id);
CREATE INDEX audit_log_execution ON audit_log (execution_id, at, request_id)
    WHERE execution_id IS NOT NULL;
CREATE INDEX audit_log_action ON audit_log (action, at, request_id);
