"""Run the gateway's and issuer's migrations as the role `gateway_owner`, in the schema `gateway`."""

import os

from alembic import context
from sqlalchemy import NullPool, create_engine

from common import settings
from gateway.config import MigrationSettings

SCHEMA = "gateway"
# A migration that waits for a lock makes everyone behind it wait too: give up soon and be run again.
OPTIONS = "-c lock_timeout=2s -c statement_timeout=5min -c timezone=UTC"


def migrate() -> None:
    """Run each migration in a transaction of its own."""
    url = settings.load(MigrationSettings, os.environ).database_url
    url = url.replace("postgresql://", "postgresql+psycopg2://", 1)
    connect_args = {"options": OPTIONS, "connect_timeout": 5, "application_name": "gateway-migrations"}
    engine = create_engine(url, poolclass=NullPool, connect_args=connect_args)
    with engine.connect() as connection:
        context.configure(connection=connection, version_table_schema=SCHEMA, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()


migrate()
