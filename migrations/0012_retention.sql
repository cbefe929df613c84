-- Why: history may be kept for a time only. Executions and tool calls are deleted row by row; steps, of
-- which there are many more, by months.
--
-- A month is dropped once no execution is left that has a step in it. One that waits for long keeps its
-- own steps, and nothing else: a month in which few are left is emptied but for those.

-- Drops or empties one month of steps that ended before `before`, and returns its name; null if there is
-- none to do. Safe to call from several processes at once; call it again until it returns null.
--
-- Reading a large month takes minutes. Meanwhile nobody can write into that month (history that comes
-- so late waits); readers, and writers of other months, notice only the drop itself. lock_timeout bounds
-- how long they can queue behind it; the caller tries again later.
CREATE FUNCTION afu9_drop_old_steps(before timestamptz) RETURNS text
LANGUAGE plpgsql
SET lock_timeout = '5s'
SET timezone = 'UTC'
AS $$
DECLARE
    partition text;
    found     boolean;
    kept      bigint;
BEGIN
    -- The same lock: months are not made while others are dropped.
    PERFORM pg_advisory_xact_lock(hashtextextended('afu9_ensure_step_partitions', 0));
    FOR partition IN
        SELECT c.relname
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'workflow_steps'::regclass AND c.relname ~ '^workflow_steps_[0-9]{4}_[0-9]{2}$'
          AND to_timestamp(right(c.relname, 7), 'YYYY_MM') + interval '1 month' <= before
        ORDER BY c.relname
    LOOP
        EXECUTE format(
            'SELECT NOT EXISTS (SELECT FROM %1$I) OR EXISTS (
                 SELECT FROM %1$I s WHERE NOT EXISTS (
                     SELECT FROM workflow_executions e WHERE e.id = s.execution_id))',
            partition) INTO found;
        CONTINUE WHEN NOT found;

        EXECUTE format('LOCK TABLE %I IN SHARE MODE', partition);
        CREATE TEMPORARY TABLE afu9_kept_steps (LIKE workflow_steps) ON COMMIT DROP;
        EXECUTE format(
            'INSERT INTO afu9_kept_steps SELECT s.* FROM %I s WHERE EXISTS (
                 SELECT FROM workflow_executions e WHERE e.id = s.execution_id)',
            partition);
        GET DIAGNOSTICS kept = ROW_COUNT;
        IF kept = 0 THEN
            EXECUTE format('DROP TABLE %I', partition);
        ELSE
            EXECUTE format('TRUNCATE %I', partition);
            EXECUTE format('INSERT INTO %I SELECT * FROM afu9_kept_steps', partition);
        END IF;
        RETURN partition;
    END LOOP;
    RETURN NULL;
END
$$;
