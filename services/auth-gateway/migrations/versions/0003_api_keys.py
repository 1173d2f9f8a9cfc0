"""API keys: who made them, what they may do, and how much they were used."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE gateway.api_key (
            id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            name              text NOT NULL,
            prefix            text NOT NULL UNIQUE,
            secret_sha256     bytea NOT NULL,
            scopes            text[] NOT NULL,
            partners          text[] NOT NULL,
            owner_issuer      text NOT NULL,
            owner_client_id   text NOT NULL,
            created_by        text NOT NULL,
            requests_per_hour bigint CHECK (requests_per_hour > 0),
            active            boolean NOT NULL DEFAULT true,
            created_at        timestamptz NOT NULL DEFAULT now(),
            updated_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
            expires_at        timestamptz,
            total_requests    bigint NOT NULL DEFAULT 0,
            counted_hour      bigint NOT NULL DEFAULT 0,
            counted_requests  bigint NOT NULL DEFAULT 0,
            last_used_at      timestamptz
        )
    """)
    op.execute("CREATE INDEX api_key_owner ON gateway.api_key (owner_issuer, owner_client_id)")
    op.execute("COMMENT ON COLUMN gateway.api_key.requests_per_hour IS 'null: as usual here'")
    op.execute("COMMENT ON COLUMN gateway.api_key.counted_requests IS 'of counted_hour, in total_requests'")
