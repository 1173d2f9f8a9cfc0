"""Deliveries are taken by kind, and those to webhooks by receiver: no backlog is in another's way."""

from alembic import op

revision = "0005"
down_revision = "0004"

TAKEN = """
DROP INDEX delivery_due;
CREATE INDEX delivery_due ON delivery (kind, due_at) WHERE closed_at IS NULL;
CREATE INDEX delivery_receiver ON delivery (webhook_id, due_at)
    WHERE closed_at IS NULL AND webhook_id IS NOT NULL;
"""


def upgrade() -> None:
    op.execute(TAKEN)


def downgrade() -> None:
    op.execute("DROP INDEX delivery_receiver, delivery_due")
    op.execute("CREATE INDEX delivery_due ON delivery (due_at) WHERE closed_at IS NULL")
