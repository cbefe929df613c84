-- Why: history needs the things executions refer to: workflows, repositories and the MCP servers
-- whose tools they call.
--
-- Decisions that hold for every table of this database:
-- - It is written asynchronously from the HISTORY stream, repeatedly and in any order. So nothing
--   here may refuse what the control plane has already accepted: text columns have no length, and
--   bounds are enforced where something is submitted, not where it is remembered.
-- - Keys come from AFU-9 (UUID version 7, or derived from what the row describes), never from the
--   database: a key drawn here would be another one after every repetition.
-- - `created_at` and `updated_at` say when the row was written. What happened when is in the other
--   timestamps, which come from the log and are the same at every repetition.

CREATE TABLE workflows (
    id              uuid PRIMARY KEY,
    name            text NOT NULL UNIQUE,
    description     text,
    -- '{}' until the definition itself has been seen; then definition_hash is set too.
    definition      jsonb NOT NULL,
    version         integer NOT NULL DEFAULT 1,
    enabled         boolean NOT NULL DEFAULT true,
    definition_hash text,
    applied_by      text,
    applied_at      timestamptz,
    -- When the newest change this row shows happened: an older one never overwrites it.
    changed_at      timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE repositories (
    -- Derived from owner and name, so that an execution can name it without a lookup.
    id             uuid PRIMARY KEY,
    owner          text NOT NULL,
    name           text NOT NULL,
    full_name      text GENERATED ALWAYS AS (owner || '/' || name) STORED,
    default_branch text NOT NULL DEFAULT 'main',
    -- When default_branch was last seen in an event; null while it is only the default.
    branch_seen_at timestamptz,
    enabled        boolean NOT NULL DEFAULT true,
    config         jsonb,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (owner, name)
);

CREATE TABLE mcp_servers (
    id                uuid PRIMARY KEY,
    name              text NOT NULL UNIQUE,
    description       text,
    endpoint          text NOT NULL,
    enabled           boolean NOT NULL DEFAULT true,
    config            jsonb,
    health_check_url  text,
    last_health_check timestamptz,
    health_status     text,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now()
);

INSERT INTO mcp_servers (id, name, description, endpoint, health_check_url) VALUES
    ('019312d0-0000-7000-8000-000000003001', 'github', 'Issues, branches and pull requests on GitHub',
     'http://localhost:3001', 'http://localhost:3001/health'),
    ('019312d0-0000-7000-8000-000000003002', 'deploy', 'Deployments to AWS ECS',
     'http://localhost:3002', 'http://localhost:3002/health'),
    ('019312d0-0000-7000-8000-000000003003', 'observability', 'Logs, metrics and alarms of AWS CloudWatch',
     'http://localhost:3003', 'http://localhost:3003/health');
