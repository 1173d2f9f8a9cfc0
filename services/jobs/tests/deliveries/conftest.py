"""Ended runs whose outcomes must go out, and receivers that answer as a test wants."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from common import principal
from common.database import transaction
from common.sealing import Sealer
from jobs.deliveries import signing, webhooks
from jobs.deliveries.send import SendFailed
from jobs.deliveries.tables import Webhook
from jobs.deliveries.webhooks import EVENTS
from jobs.engine import leases, line
from jobs.engine.leases import Failure
from jobs.engine.line import NewRun
from jobs.engine.tables import Run
from stack.ports import free_port
from stack.testing import Servers

KEYS = {"o1": b"o" * 32}
LABELS = '{"labels": {"tenant": "t1", "schoolYear": "2026", "bundle": "assessments/X"}}'
NEW_JOB = text("INSERT INTO job (uid, partner, kind, spec) VALUES (:uid, :partner, 'bundle', :spec)")


@dataclass
class FakeReceiver:
    """Outputs, as a test wants it: `failing` says how often it refuses first."""

    failing: int = 0
    status: int | None = 503
    received: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    answer: dict[str, Any] = field(default_factory=lambda: {"sets": []})

    def put(self, target: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        self.received.append((target, body))
        if self.failing:
            self.failing -= 1
            raise SendFailed("no", self.status)
        return 200, self.answer


@pytest.fixture
def receiver() -> FakeReceiver:
    return FakeReceiver()


@pytest.fixture
def ended(engine: Engine) -> Callable[..., Run]:
    """A run that completed, or failed, its deliveries waiting in the outbox."""

    def make(named: tuple[str, ...] = ("set-1",), partner: str = "acme", error: str = "") -> Run:
        uid = uuid4()
        new = NewRun(job_id=uid, partner=partner, payload={}, inputs={}, created_by="test", caller=True)
        with transaction(engine) as connection:
            connection.execute(NEW_JOB, {"uid": uid, "partner": partner, "spec": LABELS})
            run = line.submit(connection, new)
            if error:
                return leases.fail(connection, run.id, 1, Failure(error=error))
            return leases.complete(connection, run.id, 1, named_sets=named)

    return make


@pytest.fixture
def subscribe(engine: Engine, sealer: Sealer) -> Callable[..., tuple[Webhook, str]]:
    """Register a webhook and give it with its secret."""

    def make(
        url: str = "http://receiver.example/", *events: str, partner: str = "acme"
    ) -> tuple[Webhook, str]:
        secret = signing.new_secret()
        with transaction(engine) as connection:
            webhook = webhooks.create(
                connection,
                sealer,
                partner=partner,
                url=url,
                events=events or EVENTS,
                secret=secret,
                created_by="test",
            )
        return webhook, secret

    return make


@dataclass
class Mailbox:
    """A partner's receiver. `replies` says what a path answers, `slow` paths answer when `release` is set."""

    url: str = ""
    replies: dict[str, int] = field(default_factory=dict)
    slow: set[str] = field(default_factory=set)
    release: threading.Event = field(default_factory=threading.Event)
    calls: list[tuple[str, Mapping[str, str], str]] = field(default_factory=list)

    def at(self, path: str) -> list[tuple[Mapping[str, str], str]]:
        """The headers and bodies a path was sent."""
        return [(headers, body) for called, headers, body in self.calls if called == path]


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            box.calls.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            if self.path in box.slow:
                box.release.wait(30)
            self.send_response(box.replies.get(self.path, 204))
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:  # whoever called was killed
                return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    box.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield box
    box.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


class Outputs(BaseHTTPRequestHandler):
    """A small receiver that believes nothing without a signature."""

    protocol_version = "HTTP/1.1"
    calls: list[tuple[str, Any]]
    reply: tuple[int, bytes]

    def do_PUT(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        caller = principal.verify(self.headers.items(), "PUT", self.path, KEYS, int(time.time()))
        assert caller.kind == "service"
        self.calls.append((self.path, body))
        status, content = self.reply
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def outputs() -> Iterator[tuple[str, type[Outputs]]]:
    handler = type("Handler", (Outputs,), {"calls": [], "reply": (200, b'{"sets": []}')})
    server = ThreadingHTTPServer(("127.0.0.1", free_port()), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def courier_environment(engine: Engine, servers: Servers) -> Callable[[str], dict[str, str]]:
    """The environment of a courier that reaches outputs at a URL, and webhooks on this machine."""

    def make(outputs_url: str) -> dict[str, str]:
        return {
            **os.environ,
            "DATABASE_URL": engine.url.set(drivername="postgresql").render_as_string(False),
            "REDIS_URL": servers.redis_url("jobs"),
            "OUTPUTS_URL": outputs_url,
            "OUTPUTS_SIGNING_KEY": "o1:" + KEYS["o1"].hex(),
            "SEALING_KEYS": "seal:" + (b"s" * 32).hex(),
            "WEBHOOK_ALLOWED_HOSTS": "127.0.0.0/8",
            "METRICS_PORT": str(free_port()),
            "TICK_SECONDS": "0.2",
        }

    return make


@pytest.fixture(autouse=True)
def _empty(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM delivery"))
        connection.execute(text("DELETE FROM webhook"))
