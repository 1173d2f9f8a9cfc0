"""Rows that a stack would hold after years: made in the database itself, faster than any run could."""

from sqlalchemy import text

from bench.stacks import Measured

_SETS = text("""
    WITH made AS (
        INSERT INTO outputs.output_set (uid, run_id, lease, kind, name, sent_to_ods, created_at, sealed_at,
                                        published_at, job_uid, partner, tenant, school_year, bundle)
        SELECT gen_random_uuid(), gen_random_uuid(), 1, 'result', 'result', false, at, at, at,
               gen_random_uuid(), 'ea', 'ea', '2026', 'bench/noop'
        FROM (SELECT date_trunc('milliseconds', now()) - (:count - number) * interval '1 millisecond' AS at
              FROM generate_series(1, :count) AS number) AS instants
        RETURNING uid
    )
    INSERT INTO outputs.output_file (set_uid, position, name, size_bytes, sha256)
    SELECT uid, 0, 'studentAssessments.jsonl', 1000, repeat('0', 64) FROM made
""")
_CLOCK = text("""
    INSERT INTO outputs.publication_clock (partner, last_at) VALUES ('ea', date_trunc('milliseconds', now()))
    ON CONFLICT (partner) DO UPDATE SET last_at = excluded.last_at
""")
# Ids grow with time, as UUIDv7 does: 48 bits of milliseconds, then a number.
_JOBS = text("""
    CREATE TEMPORARY TABLE made AS
    SELECT CAST(lpad(to_hex(CAST(extract(epoch FROM now()) * 1000 AS bigint) - :count + number), 12, '0')
                || '70008000' || lpad(to_hex(number), 12, '0') AS uuid) AS id,
           gen_random_uuid() AS job, now() - (:count - number) * interval '1 millisecond' AS at
    FROM generate_series(1, :count) AS number
""")
_STORE = (
    """
    INSERT INTO jobs.job (uid, partner, kind, bundle_version_id, spec, created_at)
    SELECT job, partner, kind, bundle_version_id, spec, at
    FROM made, (SELECT * FROM jobs.job LIMIT 1) AS model
    """,
    """
    INSERT INTO jobs.assessment SELECT (jsonb_populate_record(model, jsonb_build_object('job_uid', job))).*
    FROM made, (SELECT assessment AS model FROM jobs.assessment LIMIT 1) AS one
    """,
    """
    INSERT INTO jobs.run (id, job_id, partner, pool, status, lease, max_attempts, holds_job, priority,
                          payload, inputs, timeout_seconds, created_at, due_at, queued_at, started_at,
                          expires_at, finished_at, event_seq, triggered_by, created_by, output_sets)
    SELECT id, job, 'ea', 'default', 'completed', 1, 1, false, 5, '{}', '{}', 3600, at, at, at, at,
           at + interval '1 day', at, 3, 'api', 'bench', '[]' FROM made
    """,
    """
    INSERT INTO jobs.run_event (run_id, seq, type, at, data)
    SELECT id, seq, 'status', at, '{"message": "status"}' FROM made, generate_series(1, 3) AS seq
    """,
    """
    INSERT INTO jobs.delivery (kind, reference, created_at, due_at, closed_at)
    SELECT 'outcome', jsonb_build_object('run', id), at, at, now() FROM made
    """,
    "DROP TABLE made",
)


def output_sets(stack: Measured, count: int) -> None:
    """Store published sets of one file each, a millisecond apart."""
    with stack.superuser().connect() as connection:
        connection.execute(_SETS, {"count": count})
        connection.execute(_CLOCK)
        connection.execute(text("VACUUM ANALYZE"))


def runs(stack: Measured, count: int) -> None:
    """Store jobs like the one there is, each with a completed run, its history and its closed delivery."""
    with stack.superuser().connect() as connection:
        connection.execute(_JOBS, {"count": count})
        for statement in _STORE:
            connection.execute(text(statement))
        connection.execute(text("VACUUM ANALYZE"))
