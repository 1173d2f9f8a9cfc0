"""Tokens made to measure, a door with keys at hand, and servers to talk to."""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from sqlalchemy import Engine

from common import database

SERVICE = Path(__file__).resolve().parents[1]


REPOSITORY = SERVICE.parents[1]


ROUTES = REPOSITORY / "deploy" / "gateway" / "routes.yaml"


def encode(part: Any) -> str:
    text = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


class Signing(JWSRegistry):
    """joserfc's registry, signing whatever a test wants, without its warning that RFC 9864 renames EdDSA."""

    max_header_length = 10_000

    def get_alg(self, name: str) -> Any:
        return self.algorithms[name]


def mint(key: Any, claims: dict[str, Any], **header: Any) -> str:
    """Sign claims; the algorithm follows from the key unless the header names one."""
    algs = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}
    full = {"alg": algs[key.key_type], "kid": key.kid, "typ": "at+jwt", **header}
    kept = {name: value for name, value in full.items() if value is not None}
    registry = Signing(algorithms=[kept["alg"]], strict_check_header=False)
    return jws.serialize_compact(kept, json.dumps(claims), key, registry=registry)


@dataclass(frozen=True)
class Keys:
    rsa: RSAKey
    other_rsa: RSAKey
    ec: ECKey
    ec384: ECKey
    ed: OKPKey


@pytest.fixture(scope="session")
def keys() -> Keys:
    return Keys(
        rsa=RSAKey.generate_key(2048, auto_kid=True),
        other_rsa=RSAKey.generate_key(2048, auto_kid=True),
        ec=ECKey.generate_key("P-256", auto_kid=True),
        ec384=ECKey.generate_key("P-384", auto_kid=True),
        ed=OKPKey.generate_key("Ed25519", auto_kid=True),
    )


@pytest.fixture(scope="session")
def routes_file() -> Path:
    """The table that is deployed."""
    return ROUTES


@dataclass(frozen=True)
class Tools:
    """What the tests call that is no fixture of its own."""

    mint: Callable[..., str] = mint
    encode: Callable[[Any], str] = encode
    free_port: Callable[[], int] = field(default_factory=lambda: free_port)


@pytest.fixture(scope="session")
def tools() -> Tools:
    return Tools()


class Web:
    """A small HTTP server: `pages` maps a path to (status, headers, body) or to a function."""

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {}
        self.seen: list[tuple[str, str, list[tuple[str, str]], bytes]] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                web.serve(self)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = handle_one

            def log_message(self, *args: Any) -> None:
                pass

        self.server = _server(Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        page = self.pages.get(handler.path.partition("?")[0], (200, {}, b"{}"))
        if callable(page):
            page(handler)
            return
        body = _read_body(handler)
        self.seen.append((handler.command, handler.path, list(handler.headers.items()), body))
        status, headers, content = page
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content if handler.command != "HEAD" else b"")

    def json(self, path: str, document: Any) -> None:
        self.pages[path] = (200, {"Content-Type": "application/json"}, json.dumps(document).encode())

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join(5)


def _read_body(handler: BaseHTTPRequestHandler) -> bytes:
    if "chunked" not in handler.headers.get("Transfer-Encoding", ""):
        return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    body = b""
    while size := int(_line(handler), 16):
        body += handler.rfile.read(size)
        _line(handler)
    _line(handler)
    return body


def _line(handler: BaseHTTPRequestHandler) -> bytes:
    line = handler.rfile.readline()
    if not line:
        raise ConnectionResetError("the body broke off")
    return line


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args: Any) -> None:
        """Connections that break are part of these tests."""


def _server(handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    return _Server(("127.0.0.1", free_port()), handler)


def free_port() -> int:
    """A port below the range of client sockets, as the local stack's tests take them."""
    from stack.ports import ports_for_tests

    return int(ports_for_tests().gateway)


@pytest.fixture(scope="session")
def new_web() -> Iterator[Callable[[], Web]]:
    """Start web servers that stay until the end of the session."""
    started: list[Web] = []

    def start() -> Web:
        started.append(Web())
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    yield server
    server.close()


@dataclass(frozen=True)
class Served:
    """A service under gunicorn."""

    url: str
    port: int
    pid: int
    log: Path


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Served]]:
    """Start a package under gunicorn as in production; stopped at the end of the session."""
    running: list[subprocess.Popen[bytes]] = []

    def start(package: str, **environment: str) -> Served:
        port = int(environment.get("PORT") or free_port())
        log_path = tmp_path_factory.mktemp(package) / "log"
        log = log_path.open("wb")
        command = [sys.executable, "-m", "gunicorn", "-c", "python:common.serving", f"{package}.wsgi:build()"]
        told = {**os.environ, "PORT": str(port), "WEB_WORKERS": "1", **environment}
        path = os.pathsep.join([str(SERVICE / "src"), os.environ.get("PYTHONPATH", "")])
        running.append(subprocess.Popen(command, env={**told, "PYTHONPATH": path}, stdout=log, stderr=log))
        log.close()
        _await(f"http://127.0.0.1:{port}/healthz")
        return Served(url=f"http://127.0.0.1:{port}", port=port, pid=running[-1].pid, log=log_path)

    yield start
    for process in running:
        process.send_signal(signal.SIGQUIT)
    for process in running:
        process.wait(30)


def _await(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with urllib3.PoolManager() as http:
                if http.request("GET", url, timeout=2, retries=False).status == 200:
                    return
        except urllib3.exceptions.HTTPError:
            time.sleep(0.05)
    raise TimeoutError(url)


@pytest.fixture(scope="session")
def new_database(servers: Any) -> Callable[[str], str]:
    """Make a migrated database of this name, and give its URL as the role gateway."""

    def make(name: str) -> str:
        made = servers.clone_database(name)
        environment = {**os.environ, "MIGRATION_DATABASE_URL": servers.database_url("gateway_owner", made)}
        path = os.pathsep.join([str(SERVICE / "src"), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-m", "alembic", "upgrade", "head"]
        subprocess.run(command, cwd=SERVICE, env={**environment, "PYTHONPATH": path}, check=True, timeout=60)
        return str(servers.database_url("gateway", made))

    return make


@pytest.fixture(scope="session")
def database_url(new_database: Callable[[str], str]) -> str:
    return new_database("gateway_tests")


@pytest.fixture(scope="session")
def gateway_engine(database_url: str) -> Iterator[Engine]:
    """The gateway's tables, as the role gateway."""
    made = database.connect(database_url, "tests")
    yield made
    made.dispose()


NO_REDIS = "redis://127.0.0.1:1"


@pytest.fixture(scope="session")
def limiting() -> Callable[..., dict[str, Any]]:
    """What a gateway counts with, by the names of `Services`; nobody counts where no Redis is named."""
    from gateway.addresses import Proxies
    from gateway.counters import Counters
    from gateway.quotas import Failures, Limits, Quotas
    from gateway.usage import Usage

    def make(engine: Any, clock: Any, redis_url: str = NO_REDIS, most: int = 1000) -> dict[str, Any]:
        counters = Counters.from_url(redis_url)
        per_hour = {"client": most, "api-key": most, "run": 50}
        limits = Limits(
            quotas=Quotas(counters, clock, per_hour),
            failures=Failures(counters, clock, limit=most),
            proxies=Proxies(()),
        )
        return {"limits": limits, "usage": Usage(engine, counters, clock)}

    return make
