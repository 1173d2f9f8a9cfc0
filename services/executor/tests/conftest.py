"""Two small servers the tests talk to: the platform (executor API and object store) and an Ed-Fi API."""

import base64
import hashlib
import io
import json
import re
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3

from common.settings import load
from executor.config import Settings
from executor.forge import Forge
from executor.runs import Runner
from executor.turns import Turn
from stack.ports import free_port

ROOT = Path(__file__).resolve().parents[3]
RUN = "018f0000-0000-7000-8000-000000000001"
Answer = tuple[int, dict[str, str], bytes]


class Server:
    """An HTTP server on a free port; a subclass answers."""

    def __init__(self) -> None:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, headers, content = server.answer(
                    self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body
                )
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = _serve

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """Answer one request; each kind of server does it its own way."""
        raise AssertionError(f"nothing answers {method} {path}")

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def json_answer(status: int, document: Any) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps(document).encode()


class Platform(Server):
    """Plays the gateway, jobs, outputs and object storage for one run; remembers every call."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, bytes] = {}
        self.calls: list[tuple[str, Any]] = []
        self.keys: list[tuple[str, str]] = []
        self.payload: dict[str, Any] = {}
        self.sets: dict[str, dict[str, Any]] = {}
        self.faults: dict[str, list[Any]] = {}
        self.cancel_requested = False
        self.heartbeat_interval = 5.0
        self.lock = threading.Lock()

    def bodies(self, name: str) -> list[Any]:
        with self.lock:
            return [body for called, body in self.calls if called == name]

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if path.startswith("/store/"):
            return self._store(method, path.partition("?")[0], headers, body)
        name = path.removeprefix(f"/sdk/v1/runs/{RUN}/")
        with self.lock:
            self.keys.append((name, headers.get("idempotency-key", "")))
            faults = self.faults.get(name, [])
            fault = faults.pop(0) if faults else None
        if fault is not None:
            return json_answer(fault, {"detail": "as the test asked"})
        if headers.get("authorization") != ("Bearer ticket" if name == "claim" else "Bearer work"):
            return json_answer(401, {"detail": "run token is stale"})
        document = json.loads(body)
        with self.lock:
            self.calls.append((name, document))
        return json_answer(200, self._document(name, document))

    def _document(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        if name == "claim":
            return {
                "run_token": "work",
                "heartbeat_interval_secs": self.heartbeat_interval,
                "lease": 1,
                "attempt": 1,
                "payload": self.payload,
            }
        if name == "heartbeat":
            return {"status": "ok", "cancel_requested": self.cancel_requested}
        if name == "output-sets":
            uid = f"set-{len(self.sets) + 1}"
            self.sets[uid] = body
            names = {
                each["name"]: base64.b64encode(bytes.fromhex(each["sha256"])).decode()
                for each in body["files"]
            }
            return {
                "uid": uid,
                "uploadUrls": {name: f"{self.url}/store/{uid}/{name}?X-Sig=secret" for name in names},
                "uploadHeaders": {
                    name: {"If-None-Match": "*", "x-amz-checksum-sha256": checksum}
                    for name, checksum in names.items()
                },
            }
        return {}

    def _store(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if method == "PUT":
            if path in self.objects:
                return 412, {}, b""
            checksum = base64.b64encode(hashlib.sha256(body).digest()).decode()
            if headers.get("x-amz-checksum-sha256") != checksum or "transfer-encoding" in headers:
                return 400, {}, b""
            self.objects[path] = body
            return 200, {}, b""
        if path not in self.objects:
            return 404, {}, b""
        return 200, {"ETag": f'"{etag(self.objects[path])}"'}, self.objects[path]

    def put(self, path: str, content: bytes) -> str:
        self.objects[f"/store/{path}"] = content
        return f"{self.url}/store/{path}?X-Amz-Signature=secret"


class EdFi(Server):
    """As much of an Ed-Fi API as lightbeam needs: discovery, OAuth, dependencies and upserts."""

    RESOURCES = ("assessments", "objectiveAssessments", "studentAssessments")
    STUDENTS = "studentEducationOrganizationAssociations"

    def __init__(self) -> None:
        super().__init__()
        self.received: dict[str, list[Any]] = {name: [] for name in self.RESOURCES}
        self.refuses: Mapping[str, str] = {}
        self.students: list[Any] | None = []
        self.secret = "s3cret"

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if path == "/":
            urls = {
                "oauth": f"{self.url}/oauth/token",
                "dependencies": f"{self.url}/dependencies",
                "openApiMetadata": f"{self.url}/metadata",
            }
            return json_answer(200, {"version": "7.1", "apiMode": "Shared Instance", "urls": urls})
        if path == "/dependencies":
            order = [
                {"resource": f"/ed-fi/{name}", "order": number, "operations": ["Create", "Update"]}
                for number, name in enumerate((*self.RESOURCES, self.STUDENTS), start=1)
            ]
            return json_answer(200, order)
        if path == "/metadata":
            names = ("Resources", "Descriptors")
            return json_answer(200, [{"name": name, "endpointUri": f"{self.url}/swagger"} for name in names])
        if path == "/swagger":
            return json_answer(200, {"paths": {}})
        if path.startswith(f"/data/v3/ed-fi/{self.STUDENTS}?"):
            return self._students(path)
        if path == "/oauth/token":
            given = base64.b64decode(headers.get("authorization", "").removeprefix("Basic ")).decode()
            return (
                json_answer(200, {"access_token": "t"})
                if given == f"client:{self.secret}"
                else json_answer(401, {})
            )
        found = re.fullmatch(r"/data/v3/ed-fi/(\w+)", path)
        if not found or found[1] not in self.received or headers.get("authorization") != "Bearer t":
            return json_answer(404, {"message": "unknown"})
        return self._upsert(found[1], json.loads(body))

    def _students(self, path: str) -> Answer:
        if self.students is None:
            return json_answer(403, {"message": "no claim"})
        query = {name: int(value) for name, value in re.findall(r"(limit|offset)=(\d+)", path)}
        start = query.get("offset", 0)
        status, headers, body = json_answer(200, self.students[start : start + query["limit"]])
        return status, {**headers, "Total-Count": str(len(self.students))}, body

    def _upsert(self, resource: str, record: Any) -> Answer:
        refusal = self.refuses.get(resource)
        if refusal:
            return json_answer(400, {"message": refusal})
        self.received[resource].append(record)
        return json_answer(201, {})


def etag(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def pack(folder: Path, prefix: str) -> bytes:
    """Make an archive of a bundle, as the import does."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.add(path, f"{prefix}/{path.relative_to(folder)}")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def pack_folder() -> Callable[[Path, str], bytes]:
    """Hand `pack` to the tests that make archives of their own."""
    return pack


@pytest.fixture
def platform() -> Iterator[Platform]:
    server = Platform()
    yield server
    server.close()


@pytest.fixture
def edfi() -> Iterator[EdFi]:
    server = EdFi()
    yield server
    server.close()


@pytest.fixture(scope="session")
def forge() -> Iterator[Forge]:
    """One warm forkserver for all tests: importing earthmover costs seconds."""
    made = Forge()
    yield made
    made.close()


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False) as pool:
        yield pool


@pytest.fixture
def runner(platform: Platform, forge: Forge, http: urllib3.PoolManager, tmp_path: Path) -> Runner:
    environment = {
        "GATEWAY_URL": platform.url,
        "REDIS_URL": "redis://127.0.0.1:1",
        "WORK_FOLDER": str(tmp_path / "work"),
        "HEARTBEAT_TIMEOUT_SECONDS": "4",
    }
    settings = load(Settings, environment)
    return Runner(settings=settings, name="test", http=http, forge=forge)


@pytest.fixture
def order(platform: Platform) -> Callable[..., dict[str, Any]]:
    """Make the platform's payload for a bundle folder of this repository and one input."""

    def make(folder: str, content: bytes, file_name: str = "résults.csv", **more: Any) -> dict[str, Any]:
        key = "/".join(folder.split("/")[-2:])
        archive = pack(ROOT / folder, key)
        url = platform.put("input", content)
        platform.payload = {
            "kind": "bundle",
            "job": {"uid": "j", "partner": "p", "tenant": "t", "school_year": 2024},
            "bundle": {
                "key": key,
                "version": 1,
                "sha256": hashlib.sha256(archive).hexdigest(),
                "url": platform.put("bundle", archive),
                "mode": "direct",
            },
            "inputs": {
                "INPUT_FILE": {
                    "url": url,
                    "file_name": file_name,
                    "size_bytes": len(content),
                    "etag": f'"{etag(content)}"',
                }
            },
            "params": {"API_YEAR": "2024"},
            "ods": None,
            "limits": {"timeout_secs": 120, "memory_mb": 2048},
        } | more
        return platform.payload

    return make


@pytest.fixture
def turn() -> Turn:
    return Turn(run=RUN, lease=1, ticket="ticket", traceparent=None)
