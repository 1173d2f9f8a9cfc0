"""Run jobs' migrations as the role `jobs_owner`, whose search path is the schema `jobs`."""

import os

from alembic import context
from sqlalchemy import NullPool, create_engine

from common import settings
from jobs.config import MigrationSettings

SCHEMA = "jobs"
# A migration that waits for a lock makes everyone behind it wait too: give up soon and be run again.
OPTIONS = "-c lock_timeout=2s -c statement_timeout=5min -c timezone=UTC"


def migrate() -> None:
    url = context.config.attributes.get("database_url") or _database_url()
    connect_args = {"options": OPTIONS, "connect_timeout": 5, "application_name": "jobs-migrations"}
    engine = create_engine(url, poolclass=NullPool, connect_args=connect_args)
    with engine.connect() as connection:
        context.configure(connection=connection, version_table_schema=SCHEMA, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()


def _database_url() -> str:
    url = settings.load(MigrationSettings, os.environ).database_url
    return url.replace("postgresql://", "postgresql+psycopg2://", 1)


migrate()
