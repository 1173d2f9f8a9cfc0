"""PostgreSQL, Valkey and SeaweedFS of one test run, in a temporary folder on free ports.

with Servers.start() as servers:
    engine = create_engine(servers.database_url("jobs"))
"""

import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from psycopg2 import sql

from stack import bootstrap, postgres, seaweed, valkey
from stack.checkout import repository_root
from stack.guard import Guard
from stack.launch import Launch, Server
from stack.layout import Layout, make_folders
from stack.ports import Ports, ports_for_tests
from stack.secrets import DATABASE, Secrets, load_or_generate, render_urls


@dataclass(frozen=True, kw_only=True)
class S3Access:
    """What a service is told about its bucket."""

    url: str
    public_url: str
    region: str
    bucket: str
    access_key: str
    secret_key: str


class Servers:
    """The three servers, bootstrapped, with a bucket a service; each can be killed and restarted.

    Tests that leave without `close` (a killed run) leave no process and no folder behind: see `stack.guard`.
    """

    def __init__(self, folder: Path, ports: Ports, secrets: Secrets, guard: Guard) -> None:
        self.folder = folder
        self.ports = ports
        self.secrets = secrets
        self._guard = guard
        self.postgres = self._server(self._postgres_launch())
        self.valkey = self._server(valkey.launch(folder / "valkey", ports.redis, secrets))
        self.seaweed = self._server(self._seaweed_launch())
        guard.remove(self.seaweed.launch.leftovers)

    @classmethod
    def start(cls) -> Self:
        """Start all three at once and wait until database, roles and buckets stand: about two seconds.

        Raises NotReady or CommandFailed with the end of a log; nothing is left running then.
        """
        folder = Path(tempfile.mkdtemp(prefix="taxiway-servers-"))
        make_folders(Layout(root=folder))
        ports = ports_for_tests()
        secrets = load_or_generate(folder / "secrets")
        render_urls(secrets, ports)
        servers = cls(folder, ports, secrets, Guard(folder))
        try:
            servers._start_all()
        except BaseException:
            servers.close()
            raise
        return servers

    def close(self) -> None:
        """Kill the servers (their data goes too) and remove the folder."""
        for server in (self.postgres, self.valkey, self.seaweed):
            server.kill()
        self._guard.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def database_url(self, role: str, database: str = DATABASE) -> str:
        """Give the URL of a role: `jobs`, `jobs_owner`, …, or `postgres`, the superuser."""
        return self.secrets.database_url(role, self.ports.postgres, database)

    def clone_database(self, name: str, template: str = DATABASE) -> str:
        """Copy a database, privileges included, and return the copy's name; a former copy is dropped.

        Connections to the template are ended first: PostgreSQL copies only a database nobody uses.
        """
        self.drop_database(name)
        with (
            bootstrap.superuser(self.ports.postgres, self.secrets) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (template,)
            )
            names = sql.Identifier(name), sql.Identifier(template)
            cursor.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
            bootstrap.grant_database(cursor, name)
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database and everyone's connections to it; harmless when there is none."""
        with (
            bootstrap.superuser(self.ports.postgres, self.secrets) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def redis_url(self, user: str) -> str:
        """Give the URL of a user: `gateway`, `jobs`, `executor` or `admin`."""
        return self.secrets.redis_url(user, self.ports.redis)

    def flush_redis(self) -> None:
        """Forget every key, as an outage may."""
        with redis.Redis.from_url(self.redis_url("admin"), socket_timeout=5) as client:
            client.flushall()

    def s3(self, service: str) -> S3Access:
        """Give a service's bucket and keys: `jobs` or `outputs`."""
        access_key, secret_key = self.secrets.s3_keys(service)
        return S3Access(
            url=f"http://127.0.0.1:{self.ports.s3}",
            public_url=f"http://localhost:{self.ports.s3}",
            region=seaweed.REGION,
            bucket=seaweed.BUCKETS[service],
            access_key=access_key,
            secret_key=secret_key,
        )

    def s3_client(self, service: str) -> Any:
        """Build a boto3 client with a service's keys."""
        access = self.s3(service)
        return bootstrap.s3_client(access.url, access.access_key, access.secret_key)

    def _start_all(self) -> None:
        with ThreadPoolExecutor(max_workers=3) as threads:
            # PostgreSQL is first: it takes longest.
            pending = [
                threads.submit(each)
                for each in (self._start_postgres, self._start_seaweed, self._start_valkey)
            ]
        _raise_first(future.exception() for future in pending)

    def _start_postgres(self) -> None:
        postgres.prepare(self.folder / "postgres", self.secrets)
        self.postgres.restart()
        script = repository_root() / "deploy" / "postgres" / "bootstrap.sql"
        bootstrap.bootstrap_database(script, self.ports.postgres, self.secrets)

    def _start_valkey(self) -> None:
        valkey.prepare(self.folder / "valkey", self.ports.redis, self.secrets)
        self.valkey.restart()

    def _start_seaweed(self) -> None:
        seaweed.prepare(self.folder / "seaweed", self.secrets)
        self.seaweed.restart()
        bootstrap.make_buckets(self.ports.s3, self.secrets)

    def _server(self, launch: Launch) -> Server:
        return Server(launch, self.folder / f"{launch.name}.log", on_start=self._guard.watch)

    def _postgres_launch(self) -> Launch:
        folder, options = self.folder / "postgres", postgres.QUICK_BUT_NOT_CRASH_SAFE
        return postgres.launch(folder, self.ports.postgres, self.secrets, options=options)

    def _seaweed_launch(self) -> Launch:
        external_url = f"http://localhost:{self.ports.s3}"
        return seaweed.launch(self.folder / "seaweed", self.ports.s3, self.ports.inner_s3(), external_url)


def _raise_first(errors: Iterable[BaseException | None]) -> None:
    for error in errors:
        if error is not None:
            raise error
