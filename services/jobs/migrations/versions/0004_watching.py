"""Runs are listed newest first, by status and by tag; what the models a run calls cost is summed up."""

from alembic import op

revision = "0004"
down_revision = "0003"

# The listing indexes hold no column that heartbeats and events touch. Few runs have tags.
LISTED = """
CREATE INDEX run_listed ON run (partner, created_at DESC, id DESC);
CREATE INDEX run_listed_by_status ON run (partner, status, created_at DESC, id DESC);
CREATE INDEX run_tags ON run USING gin (tags) WHERE tags <> '[]';
"""

SPENT = "ALTER TABLE run ADD COLUMN cost_microusd bigint NOT NULL DEFAULT 0"


def upgrade() -> None:
    for statements in (LISTED, SPENT):
        op.execute(statements)


def downgrade() -> None:
    op.execute("ALTER TABLE run DROP COLUMN cost_microusd")
    op.execute("DROP INDEX run_tags, run_listed_by_status, run_listed")
