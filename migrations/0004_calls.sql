-- Why: what was asked of the outside world: every attempt at a tool of an MCP server, and every run
-- of an agent with what it cost. Costs and tool success rates are computed from these when read.
--
-- No foreign keys, for the reasons given with workflow_executions and workflow_steps. The ids of tool
-- calls are derived from (execution, step, attempt) and are shaped like UUID version 7, so that the
-- primary key makes repetitions harmless and still grows at its right edge.

CREATE TABLE agent_runs (
    id                uuid PRIMARY KEY,
    execution_id      uuid,
    step_id           uuid,
    agent_type        text NOT NULL,
    model             text,
    prompt_tokens     integer,
    completion_tokens integer,
    total_tokens      integer,
    duration_ms       bigint,
    cost_usd          numeric(10, 6),
    input             jsonb,
    output            jsonb,
    tool_calls        jsonb,
    started_at        timestamptz NOT NULL DEFAULT now(),
    completed_at      timestamptz,
    error             text,
    prompt_version_id uuid,
    prompt_content    text,
    prompt_variables  jsonb,
    created_at        timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX agent_runs_execution ON agent_runs (execution_id);
CREATE INDEX agent_runs_type ON agent_runs (agent_type, started_at);

CREATE TABLE mcp_tool_calls (
    id           uuid PRIMARY KEY,
    execution_id uuid,
    agent_run_id uuid,
    server_name  text NOT NULL,
    tool_name    text NOT NULL,
    params       jsonb,
    result       jsonb,
    error        text,
    error_class  text,
    duration_ms  bigint,
    started_at   timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz,
    -- Which attempt at which step of the execution; null for a call an agent made by itself.
    step_index   integer,
    attempt      integer,
    worker       text,
    created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX mcp_tool_calls_execution ON mcp_tool_calls (execution_id, completed_at);
CREATE INDEX mcp_tool_calls_tool ON mcp_tool_calls (server_name, tool_name, started_at);
