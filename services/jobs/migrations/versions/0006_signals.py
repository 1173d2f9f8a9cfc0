"""A signal knows the wait that consumed it and the leases that were given its payload."""

from alembic import op

revision = "0006"
down_revision = "0005"

GIVEN = """
ALTER TABLE signal RENAME COLUMN consumed_lease TO answered_lease;
ALTER TABLE signal ADD COLUMN claimed_lease integer, ADD COLUMN trigger_id uuid;
COMMENT ON COLUMN signal.answered_lease IS 'the last lease whose wait was answered with the payload';
COMMENT ON COLUMN signal.claimed_lease IS 'the lease whose claim had the payload, after it resumed the run';
COMMENT ON COLUMN signal.trigger_id IS 'the wait that consumed it';
CREATE INDEX signal_created ON signal (created_at);
"""


def upgrade() -> None:
    op.execute(GIVEN)


def downgrade() -> None:
    op.execute("DROP INDEX signal_created")
    op.execute("ALTER TABLE signal DROP COLUMN claimed_lease, DROP COLUMN trigger_id")
    op.execute("ALTER TABLE signal RENAME COLUMN answered_lease TO consumed_lease")
