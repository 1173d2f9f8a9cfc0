"""Run outputs' migrations as the role `outputs_owner`, whose search path is the schema `outputs`."""

import os

from alembic import context
from sqlalchemy import NullPool, create_engine

from common import settings
from outputs.config import MigrationSettings

SCHEMA = "outputs"
# A migration that waits for a lock makes everyone behind it wait too: give up soon and be run again.
OPTIONS = "-c lock_timeout=2s -c statement_timeout=5min -c timezone=UTC"


def migrate() -> None:
    """Run each migration in a transaction of its own."""
    url = settings.load(MigrationSettings, os.environ).database_url
    url = url.replace("postgresql://", "postgresql+psycopg2://", 1)
    connect_args = {"options": OPTIONS, "connect_timeout": 5, "application_name": "outputs-migrations"}
    engine = create_engine(url, poolclass=NullPool, connect_args=connect_args)
    with engine.connect() as connection:
        context.configure(connection=connection, version_table_schema=SCHEMA, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()


migrate()
