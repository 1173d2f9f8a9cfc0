"""jobs-watch under gunicorn as in production, its clients, and runs to watch."""

import http.client
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from typing import Any, Self
from uuid import UUID, uuid4

import pytest
import urllib3
from redis import Redis
from sqlalchemy import Engine, text

from common import principal
from common.clock import SystemClock
from common.database import transaction
from common.principal import Principal
from jobs.engine import journal, leases, line, nudges
from jobs.engine.journal import Entry
from jobs.engine.line import NewRun
from jobs.engine.tables import Run
from stack.launch import Launch, Server, this_python
from stack.ports import free_port
from stack.processes import answers_ok
from stack.testing import Servers

KEYS = {"test": b"k" * 32}
NEW_JOB = text(
    "INSERT INTO job (uid, partner, kind, spec) VALUES (:uid, :partner, 'bundle', '{\"labels\": {}}')"
)

LOG_ALL = text("""
    WITH moved AS (UPDATE run SET event_seq = event_seq + 1 WHERE id = ANY(:ids) RETURNING id, event_seq)
    INSERT INTO run_event (run_id, seq, type, data)
    SELECT id, event_seq, 'log', jsonb_build_object('message', CAST(:message AS text)) FROM moved
""")


def client(*, subject: str = "", partner: str = "acme", **more: Any) -> Principal:
    """A client; a new one unless it is named, so that tests do not take each other's places."""
    values = {"scopes": frozenset({"read:jobs"}), "partners": frozenset({partner}), **more}
    return Principal(kind="client", subject=subject or uuid4().hex, client_id="watcher", **values)


def signed(target: str, caller: Principal, method: str = "GET") -> dict[str, str]:
    now = int(SystemClock().now().timestamp())
    return principal.signed_headers(caller, method, target, KEYS, now)


@pytest.fixture(scope="session", name="signed")
def _signed() -> Callable[[str, Principal], dict[str, str]]:
    return signed


@dataclass(frozen=True, kw_only=True)
class Block:
    """What a stream says at once: an event, or a comment."""

    id: str = ""
    event: str = ""
    data: Any = None
    comment: str = ""


class Stream:
    """A client that reads one stream."""

    def __init__(
        self, port: int, method: str, target: str, caller: Principal, headers: Mapping[str, str]
    ) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._connection.request(method, target, headers={**signed(target, caller, method), **headers})
        self.answer = self._connection.getresponse()
        self.status = self.answer.status
        self.last_id = headers.get("Last-Event-ID", "")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.answer.close()
        self._connection.close()

    def __iter__(self) -> Iterator[Block]:
        """Read blocks until the stream ends; raises TimeoutError when it falls silent."""
        lines: list[str] = []
        while raw := self.answer.readline():
            if said := raw.decode().rstrip("\n"):
                lines.append(said)
            elif lines:
                yield self._block(lines)
                lines = []

    def _block(self, lines: list[str]) -> Block:
        fields = dict(each.split(": ", 1) for each in lines if not each.startswith(":"))
        assert set(fields) <= {"id", "event", "data", "retry"}
        self.last_id = fields.get("id", self.last_id)
        return Block(
            id=fields.get("id", ""),
            event=fields.get("event", ""),
            data=json.loads(fields["data"]) if "data" in fields else None,
            comment=next((each for each in lines if each.startswith(":")), ""),
        )

    def events(self) -> Iterator[Block]:
        """Read the events alone."""
        return (block for block in self if block.event)

    def next(self) -> Block:
        return next(self.events())


@dataclass(frozen=True, kw_only=True)
class Watch:
    """The process, and how to watch with it."""

    port: int
    metrics_port: int
    server: Server

    def stream(
        self, run: Run, kind: str = "stream", caller: Principal | None = None, query: str = "", **headers: str
    ) -> Stream:
        return self.get(f"/v1/runs/{run.id}/{kind}{query}", caller, **headers)

    def get(
        self, target: str, caller: Principal | None = None, method: str = "GET", **headers: str
    ) -> Stream:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Stream(self.port, method, target, caller or client(), named)

    def measured(self, name: str) -> float:
        page = urllib3.request("GET", f"http://127.0.0.1:{self.metrics_port}/metrics").data.decode()
        found = re.search(rf"^{re.escape(name)} (\S+)$", page, re.MULTILINE)
        return float(found[1]) if found else 0.0

    @property
    def worker(self) -> int:
        """The pid of the one worker."""
        [pid] = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text().split()
        return int(pid)

    def status(self, name: str) -> int:
        """Read a number of the worker's /proc status: VmRSS in KiB, Threads."""
        told = Path(f"/proc/{self.worker}/status").read_text()
        found = re.search(rf"^{name}:\s+(\d+)", told, re.MULTILINE)
        assert found
        return int(found[1])


@pytest.fixture(scope="module")
def new_watch(
    servers: Servers, database_name: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """Start jobs-watch for a while; variables are named in lower case."""

    @contextmanager
    def start(**told: str) -> Iterator[Watch]:
        port, metrics_port = free_port(), free_port()
        environment = {
            "PORT": str(port),
            "METRICS_PORT": str(metrics_port),
            "WEB_WORKERS": "1",
            "WEB_CONNECTIONS": "20000",
            "DATABASE_URL": servers.database_url("jobs", database_name),
            "REDIS_URL": servers.redis_url("jobs"),
            "SIGNATURE_KEYS": f"test:{KEYS['test'].hex()}",
            "LOG_LEVEL": "warning",
            **{name.upper(): value for name, value in told.items()},
        }
        folder = tmp_path_factory.mktemp("watch")
        launch = Launch(
            name="jobs-watch",
            command=this_python("gunicorn", "-c", "python:common.serving", "jobs.watch:build()"),
            folder=folder,
            stop_signal=SIGTERM,
            is_ready=answers_ok(f"http://127.0.0.1:{port}/readyz"),
            environment=environment,
        )
        server = Server(launch, folder / "log", on_start=lambda _: None)
        try:
            server.start().wait_ready(timeout_seconds=60)
            yield Watch(port=port, metrics_port=metrics_port, server=server)
        finally:
            server.stop(timeout_seconds=30)

    return start


@pytest.fixture(scope="module")
def watch(new_watch: Callable[..., Any]) -> Iterator[Watch]:
    with new_watch(comment_seconds="0.3") as running:
        yield running
        assert "Traceback" not in running.server.log.read_text()


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Runs in the hands of the tests, and the nudges that tell of them."""

    engine: Engine
    nudge: nudges.Nudge

    def begin(self, partner: str = "acme") -> Run:
        uid = uuid4()
        new = NewRun(job_id=uid, partner=partner, payload={}, inputs={}, created_by="test", caller=True)
        with transaction(self.engine) as connection:
            connection.execute(NEW_JOB, {"uid": uid, "partner": partner})
            return line.submit(connection, new)

    def log(self, run: Run, *messages: str, type: str = "log") -> None:
        entries = [Entry(type=type, data={"message": message}) for message in messages]
        with transaction(self.engine) as connection:
            journal.log(connection, run.id, run.lease, entries)
        self.nudge.run(run.id)

    def log_all(self, ids: Collection[UUID], message: str) -> None:
        """Log one line in many runs, and tell nobody."""
        with transaction(self.engine) as connection:
            connection.execute(LOG_ALL, {"ids": list(ids), "message": message})

    def complete(self, run: Run) -> None:
        with transaction(self.engine) as connection:
            leases.complete(connection, run.id, run.lease)
        self.nudge.run(run.id)

    def seq(self, run_id: UUID) -> int:
        with transaction(self.engine) as connection:
            found = line.find(connection, run_id)
        assert found
        return found.event_seq


@pytest.fixture(scope="module")
def redis(servers: Servers) -> Iterator["Redis"]:
    made = nudges.connect(servers.redis_url("jobs"), timeout_seconds=2)
    yield made
    made.close()


@pytest.fixture(scope="module")
def runs(engine: Engine, redis: "Redis") -> Runs:
    return Runs(engine=engine, nudge=nudges.RedisNudge(redis))
