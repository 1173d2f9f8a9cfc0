"""Output sets, their files, outcomes, the publication clock, school years."""

from alembic import op

from common import idempotency

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE output_set (
    uid          uuid PRIMARY KEY,
    run_id       uuid NOT NULL,
    lease        integer NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('result', 'report')),
    name         text NOT NULL,
    sent_to_ods  boolean NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    sealed_at    timestamptz,
    published_at timestamptz,
    job_uid      uuid,
    partner      text,
    tenant       text,
    school_year  text,
    bundle       text,
    UNIQUE (run_id, lease, name),
    CONSTRAINT published_sets_are_sealed_and_labelled CHECK (
        published_at IS NULL
        OR (sealed_at IS NOT NULL AND job_uid IS NOT NULL AND partner IS NOT NULL AND tenant IS NOT NULL
            AND school_year IS NOT NULL AND bundle IS NOT NULL)
    ),
    CONSTRAINT published_in_whole_milliseconds CHECK (
        published_at = date_trunc('milliseconds', published_at)
    )
);
-- The list's one way in. Unique: two sets of a partner never share an instant.
CREATE UNIQUE INDEX output_set_published ON output_set (partner, published_at)
    WHERE published_at IS NOT NULL AND kind = 'result';

CREATE TABLE output_file (
    set_uid    uuid NOT NULL REFERENCES output_set ON DELETE CASCADE,
    position   integer NOT NULL,
    name       text NOT NULL,
    size_bytes bigint NOT NULL CHECK (size_bytes > 0),
    sha256     text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    PRIMARY KEY (set_uid, position)
);

CREATE TABLE outcome (
    run_id      uuid PRIMARY KEY,
    lease       integer NOT NULL,
    status      text NOT NULL,
    finished_at timestamptz,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    answered    jsonb NOT NULL,
    leftovers   text[] NOT NULL
);

CREATE TABLE publication_clock (
    partner text PRIMARY KEY,
    last_at timestamptz NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE school_year (
    code text PRIMARY KEY
);
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(idempotency.TABLE)
