"""Runs have families: how long a parent waits for its child, and which child's end it was told of."""

from alembic import op

revision = "0007"
down_revision = "0006"

FAMILY = """
ALTER TABLE run ADD COLUMN await_expires_at timestamptz;
ALTER TABLE run ADD COLUMN ended_child_id uuid;
CREATE INDEX run_await_expiry ON run (await_expires_at) WHERE await_expires_at IS NOT NULL;
"""


def upgrade() -> None:
    op.execute(FAMILY)


def downgrade() -> None:
    op.execute("DROP INDEX run_await_expiry")
    op.execute("ALTER TABLE run DROP COLUMN await_expires_at, DROP COLUMN ended_child_id")
