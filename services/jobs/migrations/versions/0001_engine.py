"""The run engine: jobs, runs and their history, what runs keep, what must go out."""

from alembic import op

from common.idempotency import TABLE as IDEMPOTENCY_KEY

revision = "0001"
down_revision = None

JOB = """
CREATE TABLE job (
    uid                    uuid PRIMARY KEY,
    partner                text NOT NULL,
    kind                   text NOT NULL,
    bundle_version_id      bigint,
    spec                   jsonb NOT NULL,
    created_by_kind        text NOT NULL DEFAULT '',
    created_by_issuer      text NOT NULL DEFAULT '',
    created_by_client_id   text NOT NULL DEFAULT '',
    created_by_client_name text NOT NULL DEFAULT '',
    created_at             timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX job_partner ON job (partner, created_at);
"""

# Heartbeats and events rewrite a row many times: half of each page stays free, and no column they touch
# (heartbeat_at, event_seq, progress, deadline_at) is in an index, so that these updates stay HOT.
RUN = """
CREATE TABLE run (
    id                  uuid PRIMARY KEY,
    number              bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    job_id              uuid NOT NULL REFERENCES job (uid),
    partner             text NOT NULL,
    pool                text NOT NULL,
    status              text NOT NULL CHECK (status IN (
        'delayed', 'queued', 'dequeued', 'executing', 'waiting', 'completed', 'failed', 'timed_out',
        'crashed', 'dead_letter', 'system_failed', 'canceled', 'expired')),
    lease               integer NOT NULL DEFAULT 0,
    claim_id            uuid,
    executor            text,
    caller              boolean NOT NULL DEFAULT false,
    attempt             integer NOT NULL DEFAULT 1 CHECK (attempt >= 1),
    max_attempts        integer NOT NULL CHECK (max_attempts >= 1),
    retry               jsonb NOT NULL DEFAULT '{}',
    holds_job           boolean NOT NULL,
    priority            smallint NOT NULL CHECK (priority BETWEEN 0 AND 10),
    concurrency_key     text,
    concurrency_limit   integer NOT NULL DEFAULT 1 CHECK (concurrency_limit >= 1),
    payload             jsonb NOT NULL,
    inputs              jsonb NOT NULL,
    metadata            jsonb NOT NULL DEFAULT '{}',
    result              jsonb,
    error               text,
    error_class         text,
    error_code          text,
    progress            jsonb,
    timeout_seconds     integer NOT NULL CHECK (timeout_seconds >= 1),
    line_seconds        integer NOT NULL DEFAULT 86400 CHECK (line_seconds >= 1),
    created_at          timestamptz NOT NULL DEFAULT now(),
    due_at              timestamptz NOT NULL DEFAULT now(),
    queued_at           timestamptz,
    pushed_at           timestamptz,
    started_at          timestamptz,
    heartbeat_at        timestamptz,
    deadline_at         timestamptz,
    expires_at          timestamptz NOT NULL,
    finished_at         timestamptz,
    cancel_requested_at timestamptz,
    ended_by            text,
    failed_lease        integer,
    turns_lost          smallint NOT NULL DEFAULT 0,
    event_seq           integer NOT NULL DEFAULT 0,
    checkpoint_seq      integer NOT NULL DEFAULT 0,
    parent_run_id       uuid,
    awaits_run_id       uuid,
    continuation_of     uuid,
    replay_of           uuid,
    lineage_depth       smallint NOT NULL DEFAULT 0,
    depth               smallint NOT NULL DEFAULT 0,
    batch_id            uuid,
    tags                jsonb NOT NULL DEFAULT '[]',
    triggered_by        text NOT NULL,
    created_by          text NOT NULL,
    traceparent         text NOT NULL DEFAULT '',
    named_sets          jsonb NOT NULL DEFAULT '[]',
    output_sets         jsonb,
    CHECK ((finished_at IS NULL) = (status NOT IN (
        'completed', 'failed', 'timed_out', 'crashed', 'dead_letter', 'system_failed', 'canceled',
        'expired'))),
    CHECK (finished_at IS NULL OR NOT holds_job)
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX run_holds_job ON run (job_id) WHERE holds_job;
CREATE INDEX run_job ON run (job_id, id);
CREATE INDEX run_line ON run (pool, partner, priority DESC, queued_at, id) WHERE status = 'queued';
CREATE INDEX run_live ON run (status, pool, partner) WHERE status IN ('dequeued', 'executing', 'waiting');
CREATE INDEX run_delayed ON run (due_at) WHERE status = 'delayed';
CREATE INDEX run_expiry ON run (expires_at) WHERE status IN ('delayed', 'queued');
CREATE INDEX run_concurrency ON run (partner, concurrency_key)
    WHERE concurrency_key IS NOT NULL AND status IN ('dequeued', 'executing');
CREATE INDEX run_awaited ON run (awaits_run_id) WHERE awaits_run_id IS NOT NULL;
CREATE INDEX run_parent ON run (parent_run_id) WHERE parent_run_id IS NOT NULL;
"""

# UUIDv7 is ordered by time: ranges of run_id are months, and a month drops whole once partitions are cut.
RUN_EVENT = """
CREATE TABLE run_event (
    run_id uuid NOT NULL,
    seq    integer NOT NULL,
    type   text NOT NULL,
    level  text NOT NULL DEFAULT 'info',
    at     timestamptz NOT NULL DEFAULT now(),
    data   jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (run_id, seq)
) PARTITION BY RANGE (run_id);
CREATE TABLE run_event_default PARTITION OF run_event DEFAULT;
"""

KEPT_BY_RUNS = """
CREATE TABLE checkpoint (
    id         uuid NOT NULL,
    run_id     uuid NOT NULL REFERENCES run (id),
    sequence   integer NOT NULL,
    lease      integer NOT NULL,
    source     text NOT NULL,
    state      jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, sequence)
);
CREATE TABLE run_state (
    run_id     uuid NOT NULL REFERENCES run (id),
    key        text NOT NULL,
    value      jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, key)
);
CREATE TABLE run_output (
    id         uuid PRIMARY KEY,
    run_id     uuid NOT NULL REFERENCES run (id),
    key        text NOT NULL,
    value      jsonb NOT NULL,
    schema     jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (run_id, key)
);
"""

SIGNALS = """
CREATE TABLE signal (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partner        text NOT NULL,
    key            text NOT NULL,
    payload        jsonb,
    created_at     timestamptz NOT NULL DEFAULT now(),
    consumed_at    timestamptz,
    consumed_by    uuid,
    consumed_lease integer
);
CREATE INDEX signal_line ON signal (partner, key, id) WHERE consumed_at IS NULL;
CREATE INDEX signal_received ON signal (consumed_by, key) WHERE consumed_by IS NOT NULL;
CREATE TABLE wait (
    id         uuid PRIMARY KEY,
    run_id     uuid NOT NULL UNIQUE REFERENCES run (id),
    lease      integer NOT NULL,
    partner    text NOT NULL,
    key        text NOT NULL,
    notify_url text,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    UNIQUE (partner, key)
);
CREATE INDEX wait_expiry ON wait (expires_at);
"""

DELIVERIES = """
CREATE TABLE webhook (
    id         uuid PRIMARY KEY,
    partner    text NOT NULL,
    url        text NOT NULL,
    events     jsonb NOT NULL,
    secret     text NOT NULL,
    created_by text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);
COMMENT ON COLUMN webhook.secret IS 'sealed for its row';
CREATE INDEX webhook_partner ON webhook (partner) WHERE deleted_at IS NULL;
CREATE TABLE delivery (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text NOT NULL,
    reference   jsonb NOT NULL,
    webhook_id  uuid REFERENCES webhook (id),
    created_at  timestamptz NOT NULL DEFAULT now(),
    due_at      timestamptz NOT NULL DEFAULT now(),
    tries       integer NOT NULL DEFAULT 0,
    last_status integer,
    last_error  text,
    closed_at   timestamptz
) WITH (fillfactor = 70);
CREATE INDEX delivery_due ON delivery (due_at) WHERE closed_at IS NULL;
CREATE INDEX delivery_closed ON delivery (closed_at) WHERE closed_at IS NOT NULL;
CREATE INDEX delivery_webhook ON delivery (webhook_id, id) WHERE webhook_id IS NOT NULL;
"""

AUDIT = """
CREATE TABLE audit (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at        timestamptz NOT NULL DEFAULT now(),
    actor     text NOT NULL,
    action    text NOT NULL,
    subject   text NOT NULL,
    data      jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_at ON audit (at);
"""

TABLES = (JOB, RUN, RUN_EVENT, KEPT_BY_RUNS, SIGNALS, DELIVERIES, IDEMPOTENCY_KEY, AUDIT)


def upgrade() -> None:
    for statements in TABLES:
        op.execute(statements)


def downgrade() -> None:
    op.execute("DROP TABLE audit, idempotency_key, delivery, webhook, wait, signal")
    op.execute("DROP TABLE run_output, run_state, checkpoint, run_event, run, job")
