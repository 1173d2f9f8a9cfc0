"""Partners and tenants can be retired: jobs made for them keep what they need. The audit is append-only."""

from alembic import op

revision = "0003"
down_revision = "0002"

# What jobs of a retired tenant still use (an ODS, a roster) refers to the row: it stays.
RETIRED = """
ALTER TABLE partner ADD COLUMN retired_at timestamptz;
ALTER TABLE tenant ADD COLUMN retired_at timestamptz;
"""

APPEND_ONLY = """
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    for statements in (RETIRED, APPEND_ONLY):
        op.execute(statements)


def downgrade() -> None:
    op.execute("DROP TRIGGER audit_is_append_only ON audit")
    op.execute("ALTER TABLE partner DROP COLUMN retired_at")
    op.execute("ALTER TABLE tenant DROP COLUMN retired_at")
