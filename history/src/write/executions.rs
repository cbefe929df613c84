//! The statement that writes `workflow_executions`.

use afu9_schemas::message::Parent;
use sqlx::PgConnection;

use crate::Rows;
use crate::rows::execution::ExecutionRow;
use crate::rows::int;
use crate::write::columns::Columns;

/// Writes what is known of executions. The rule is that of `ExecutionRow::merged`: the columns of the
/// start are filled in once; version, pause and state follow the newest event that tells them.
pub(crate) async fn upsert(connection: &mut PgConnection, rows: &Rows) -> Result<u64, sqlx::Error> {
    Columns::new(UPSERT, rows.executions())
        .column(|row| row.id)
        .column(|row| row.started_at)
        .column(|row| Some(row.start.as_ref()?.workflow_id))
        .column(|row| Some(row.start.as_ref()?.workflow_name.as_str()))
        .column(|row| row.start.as_ref()?.repository_id)
        .column(|row| Some(row.start.as_ref()?.input.as_str()))
        .column(|row| Some(row.start.as_ref()?.triggered_by.as_str()))
        .column(|row| Some(row.start.as_ref()?.trigger_kind))
        .column(|row| row.start.as_ref()?.trigger_delivery.as_deref())
        .column(|row| row.start.as_ref()?.traceparent.as_deref())
        .column(|row| row.start.as_ref()?.key.as_deref())
        .column(|row| Some(parent(row)?.execution.as_uuid()))
        .column(|row| Some(int(parent(row)?.step)))
        .column(|row| parent(row)?.item.map(int))
        .column(|row| Some(int(parent(row)?.attempt)))
        .column(|row| Some(parent(row)?.waits))
        .column(|row| Some(int(parent(row)?.depth)))
        .column(|row| row.start.as_ref()?.rerun_of)
        .column(|row| row.start.as_ref()?.rerun_reason.as_deref())
        .column(|row| row.start.as_ref()?.default_branch.as_deref())
        .column(|row| Some(row.start.as_ref()?.lane))
        .column(|row| Some(row.start.as_ref()?.priority))
        .column(|row| row.version.event)
        .column(|row| Some(row.version.value.as_ref()?.number))
        .column(|row| Some(row.version.value.as_ref()?.definition_hash.as_str()))
        .column(|row| row.pause.event)
        .column(|row| row.pause.value.as_deref())
        .column(|row| row.state.event)
        .column(|row| row.state.value.status)
        .column(|row| row.state.value.output.as_deref())
        .column(|row| row.state.value.completed_at)
        .column(|row| row.state.value.error.as_deref())
        .column(|row| row.state.value.error_detail.as_deref())
        .column(|row| row.state.value.steps_completed)
        .column(|row| row.state.value.steps_failed)
        .column(|row| row.state.value.steps_skipped)
        .column(|row| row.state.value.steps_compensated)
        .column(|row| row.state.value.stale_results)
        .execute(connection)
        .await
}

fn parent(row: &ExecutionRow) -> Option<Parent> {
    row.start.as_ref()?.parent
}

const UPSERT: &str = "
INSERT INTO workflow_executions AS e (
    id, started_at, workflow_id, workflow_name, repository_id, input, triggered_by, trigger_kind,
    trigger_delivery, traceparent, concurrency_key, parent_execution_id, parent_step_index,
    parent_item_index, parent_attempt, parent_waits, parent_depth, rerun_of, rerun_reason,
    default_branch, lane, priority, version_event, workflow_version, definition_hash, pause_event,
    pause_metadata, event_number, status, output,
    completed_at, error, error_detail, steps_completed, steps_failed, steps_skipped,
    steps_compensated, stale_results
)
SELECT n.id, n.started_at, n.workflow_id, n.workflow_name, n.repository_id, n.input::jsonb,
       n.triggered_by, n.trigger_kind, n.trigger_delivery, n.traceparent, n.concurrency_key,
       n.parent_execution_id, n.parent_step_index, n.parent_item_index, n.parent_attempt,
       n.parent_waits, n.parent_depth, n.rerun_of, n.rerun_reason, n.default_branch, n.lane,
       n.priority, n.version_event, n.workflow_version,
       n.definition_hash, n.pause_event, n.pause_metadata::jsonb, n.event_number, n.status,
       n.output::jsonb, n.completed_at, n.error, n.error_detail::jsonb, n.steps_completed,
       n.steps_failed, n.steps_skipped, n.steps_compensated, n.stale_results
FROM unnest(
    $1::uuid[], $2::timestamptz[], $3::uuid[], $4::text[], $5::uuid[], $6::text[], $7::text[],
    $8::text[], $9::text[], $10::text[], $11::text[], $12::uuid[], $13::int[], $14::int[], $15::int[],
    $16::bool[], $17::int[], $18::uuid[], $19::text[], $20::text[], $21::text[], $22::int[], $23::int[],
    $24::int[], $25::text[], $26::int[], $27::text[], $28::int[], $29::text[], $30::text[],
    $31::timestamptz[], $32::text[], $33::text[], $34::int[], $35::int[], $36::int[], $37::int[],
    $38::int[]
) AS n(
    id, started_at, workflow_id, workflow_name, repository_id, input, triggered_by, trigger_kind,
    trigger_delivery, traceparent, concurrency_key, parent_execution_id, parent_step_index,
    parent_item_index, parent_attempt, parent_waits, parent_depth, rerun_of, rerun_reason,
    default_branch, lane, priority, version_event, workflow_version, definition_hash, pause_event,
    pause_metadata, event_number, status, output,
    completed_at, error, error_detail, steps_completed, steps_failed, steps_skipped,
    steps_compensated, stale_results
)
ON CONFLICT (id) DO UPDATE SET
    -- The start's own instant goes before those that other events remember.
    started_at =
        CASE WHEN excluded.workflow_id IS NOT NULL THEN excluded.started_at
             WHEN e.workflow_id IS NOT NULL THEN e.started_at
             ELSE least(e.started_at, excluded.started_at) END,
    workflow_id = coalesce(e.workflow_id, excluded.workflow_id),
    workflow_name = coalesce(e.workflow_name, excluded.workflow_name),
    repository_id = coalesce(e.repository_id, excluded.repository_id),
    input = coalesce(e.input, excluded.input),
    triggered_by = coalesce(e.triggered_by, excluded.triggered_by),
    trigger_kind = coalesce(e.trigger_kind, excluded.trigger_kind),
    trigger_delivery = coalesce(e.trigger_delivery, excluded.trigger_delivery),
    traceparent = coalesce(e.traceparent, excluded.traceparent),
    concurrency_key = coalesce(e.concurrency_key, excluded.concurrency_key),
    parent_execution_id = coalesce(e.parent_execution_id, excluded.parent_execution_id),
    parent_step_index = coalesce(e.parent_step_index, excluded.parent_step_index),
    parent_item_index = coalesce(e.parent_item_index, excluded.parent_item_index),
    parent_attempt = coalesce(e.parent_attempt, excluded.parent_attempt),
    parent_waits = coalesce(e.parent_waits, excluded.parent_waits),
    parent_depth = coalesce(e.parent_depth, excluded.parent_depth),
    rerun_of = coalesce(e.rerun_of, excluded.rerun_of),
    rerun_reason = coalesce(e.rerun_reason, excluded.rerun_reason),
    default_branch = coalesce(e.default_branch, excluded.default_branch),
    lane = coalesce(e.lane, excluded.lane),
    priority = coalesce(e.priority, excluded.priority),
    workflow_version =
        CASE WHEN excluded.version_event > e.version_event THEN excluded.workflow_version ELSE e.workflow_version END,
    definition_hash =
        CASE WHEN excluded.version_event > e.version_event THEN excluded.definition_hash ELSE e.definition_hash END,
    version_event = greatest(e.version_event, excluded.version_event),
    pause_metadata =
        CASE WHEN excluded.pause_event > e.pause_event THEN excluded.pause_metadata ELSE e.pause_metadata END,
    pause_event = greatest(e.pause_event, excluded.pause_event),
    status = CASE WHEN excluded.event_number > e.event_number THEN excluded.status ELSE e.status END,
    output = CASE WHEN excluded.event_number > e.event_number THEN excluded.output ELSE e.output END,
    completed_at =
        CASE WHEN excluded.event_number > e.event_number THEN excluded.completed_at ELSE e.completed_at END,
    error = CASE WHEN excluded.event_number > e.event_number THEN excluded.error ELSE e.error END,
    error_detail =
        CASE WHEN excluded.event_number > e.event_number THEN excluded.error_detail ELSE e.error_detail END,
    steps_completed =
        CASE WHEN excluded.event_number > e.event_number THEN excluded.steps_completed ELSE e.steps_completed END,
    steps_failed =
        CASE WHEN excluded.event_number > e.event_number THEN excluded.steps_failed ELSE e.steps_failed END,
    steps_skipped =
        CASE WHEN excluded.event_number > e.event_number THEN excluded.steps_skipped ELSE e.steps_skipped END,
    steps_compensated =
        CASE WHEN excluded.event_number > e.event_number THEN excluded.steps_compensated ELSE e.steps_compensated END,
    stale_results =
        CASE WHEN excluded.event_number > e.event_number THEN excluded.stale_results ELSE e.stale_results END,
    event_number = greatest(e.event_number, excluded.event_number),
    updated_at = now()
WHERE excluded.event_number > e.event_number
   OR excluded.version_event > e.version_event
   OR excluded.pause_event > e.pause_event
   OR (e.workflow_id IS NULL AND excluded.workflow_id IS NOT NULL)";
