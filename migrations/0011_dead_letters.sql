-- Why: what nobody could finish is found, looked at and settled by people: replayed or discarded. The
-- stream AFU9_DLQ keeps the dead letters; which of them are open, and who settled the others, is here.
--
-- A row is written by the projector from the stream, and its id is derived from the message's, so that
-- a letter that is delivered or stored twice is one row. Only the last columns change, once: when it is
-- settled. A letter is as long here as in the stream, 90 days; the projector drops older ones.
--
-- `letter` is the message as it is in the stream. A large one is only there, at `stream_sequence`.

CREATE TABLE dead_letters (
    id              uuid PRIMARY KEY,
    stream_sequence bigint NOT NULL,
    -- When it became a dead letter, by the clock of whoever set it aside.
    at              timestamptz NOT NULL,
    -- Why it is here: see docs/dead-letters.md.
    reason          text NOT NULL,
    -- The worker kind whose job it was; null for deliveries, triggers and batches of history.
    kind            text,
    tool            text,
    workflow        text,
    -- The attempt it is about; null where it is about none, or nobody can tell.
    execution_id    uuid,
    step_index      integer,
    step_name       text,
    item_index      integer,
    attempt         integer,
    -- How many attempts it tells of.
    attempts        integer NOT NULL DEFAULT 0,
    error_class     text NOT NULL,
    error_code      text NOT NULL,
    error_message   text NOT NULL,
    trace_id        text,
    -- The webhook delivery it is about.
    delivery        text,
    -- The dead letter before it of the same step, item or delivery.
    earlier_id      uuid,
    -- Bytes of the message.
    bytes           integer NOT NULL,
    letter          bytea,
    -- open, replayed or discarded; by whom, when, why, and by which request.
    state           text NOT NULL DEFAULT 'open',
    settled_by      text,
    settled_at      timestamptz,
    note            text,
    request_id      uuid,
    created_at      timestamptz NOT NULL DEFAULT now()
);

-- Pages go by (at, id), newest first; of everything, and of what is open: that is what people look at,
-- what is counted for the alarm, and few.
CREATE INDEX dead_letters_at ON dead_letters (at, id);
CREATE INDEX dead_letters_open ON dead_letters (at, id) WHERE state = 'open';
CREATE INDEX dead_letters_execution ON dead_letters (execution_id, step_index, attempt)
    WHERE execution_id IS NOT NULL;
