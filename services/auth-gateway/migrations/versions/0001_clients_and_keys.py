"""Client applications, and the keys the issuer signs their tokens with."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE gateway.client_application (
            id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            client_id   text NOT NULL UNIQUE CHECK (client_id <> '' AND position('_' IN client_id) = 0),
            name        text NOT NULL,
            secret_hash text NOT NULL,
            scopes      text[] NOT NULL DEFAULT '{}',
            roles       text[] NOT NULL DEFAULT '{}',
            enabled     boolean NOT NULL DEFAULT true,
            created_at  timestamptz NOT NULL DEFAULT now()
        )
    """)
    op.execute("""
        CREATE TABLE gateway.issuer_key (
            kid         text PRIMARY KEY,
            private_key text NOT NULL,
            public_jwk  jsonb NOT NULL,
            created_at  timestamptz NOT NULL,
            signs_from  timestamptz NOT NULL,
            retired_at  timestamptz,
            CHECK (signs_from >= created_at AND retired_at > signs_from)
        )
    """)
    op.execute("COMMENT ON COLUMN gateway.issuer_key.private_key IS 'PEM, sealed by the issuer'")
