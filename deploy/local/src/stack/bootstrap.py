"""Make the database, its roles and the buckets; harmless when they are there."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import extensions, sql

from stack.errors import CommandFailed
from stack.launch import inherited
from stack.postgres import program
from stack.seaweed import BUCKETS, REGION
from stack.secrets import DATABASE_ROLES, SUPERUSER, Secrets

PSQL_TIMEOUT_SECONDS = 60


def bootstrap_database(script: Path, port: int, secrets: Secrets) -> None:
    """Run the script sites use too, then give every role its password.

    Raises CommandFailed with what psql said.
    """
    psql = (str(program("psql")), "-X", "-q", "-h", "127.0.0.1", "-p", str(port), "-U", SUPERUSER)
    done = subprocess.run(  # noqa: S603
        [*psql, "-d", "postgres", "-f", str(script)],
        env=inherited(os.environ) | {"PGPASSWORD": secrets.database_password(SUPERUSER)},
        capture_output=True,
        timeout=PSQL_TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise CommandFailed("bootstrap.sql", done.returncode, done.stderr.decode(errors="replace"))
    with superuser(port, secrets) as connection, connection.cursor() as cursor:
        for role in DATABASE_ROLES:
            _set_password(cursor, role, secrets.database_password(role))


@contextmanager
def superuser(port: int, secrets: Secrets, database: str = "postgres") -> Iterator[Any]:
    """Open an autocommit connection as the superuser of our own server."""
    password = secrets.database_password(SUPERUSER)
    connection = psycopg2.connect(
        host="127.0.0.1", port=port, user=SUPERUSER, password=password, dbname=database, connect_timeout=5
    )
    connection.autocommit = True
    try:
        yield connection
    finally:
        connection.close()


def grant_database(cursor: Any, database: str) -> None:
    """Open a cloned database to our roles only: privileges on a database are not copied with it."""
    cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))
    roles = sql.SQL(", ").join(map(sql.Identifier, DATABASE_ROLES))
    cursor.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database), roles))


def make_buckets(port: int, secrets: Secrets) -> None:
    """Make every service's bucket and prove with a first object that the volumes take writes."""
    storage = s3_client(f"http://127.0.0.1:{port}", *secrets.s3_keys("admin"))
    present = {bucket["Name"] for bucket in storage.list_buckets()["Buckets"]}
    for bucket in BUCKETS.values():
        if bucket not in present:
            storage.create_bucket(Bucket=bucket)
        storage.put_object(Bucket=bucket, Key=".writable", Body=b"")
        storage.delete_object(Bucket=bucket, Key=".writable")


def s3_client(url: str, access_key: str, secret_key: str) -> Any:
    """Build a client that signs with SigV4 and addresses buckets by path."""
    import boto3  # slow to import: only who talks to S3 pays
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=REGION,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=5,
            read_timeout=20,
            retries={"mode": "standard", "total_max_attempts": 4},
        ),
    )


def _set_password(cursor: Any, role: str, password: str) -> None:
    # Hashed on our side, so that no server log can hold it.
    hashed = extensions.encrypt_password(password, role, cursor.connection, "scram-sha-256")
    cursor.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(hashed)))
