-- Why: an auditor asks what one person did, and what was refused. Both are looked for by time, newest
-- first, like everything in this log.
--
-- Nearly all wishes are applied, and a list of those is well served by the index over time; the others
-- are few.

CREATE INDEX audit_log_by ON audit_log (by, at, request_id);
CREATE INDEX audit_log_outcome ON audit_log (outcome, at, request_id) WHERE outcome <> 'applied';
