"""Two small servers the tests talk to: the SDK's platform, and an Ed-Fi API."""

import base64
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from common.settings import load
from executor.config import Settings
from executor.forge import Forge
from executor.runs import Runner
from executor_sdk import Turn
from executor_sdk.testing import Answer, Platform, Server, etag, json_answer
from stack.ports import free_port

ROOT = Path(__file__).resolve().parents[3]


class EdFi(Server):
    """As much of an Ed-Fi API as lightbeam needs: discovery, OAuth, dependencies and upserts."""

    RESOURCES = ("assessments", "objectiveAssessments", "studentAssessments")
    STUDENTS = "studentEducationOrganizationAssociations"

    def __init__(self, port: int) -> None:
        super().__init__(port)
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
    server = Platform(free_port())
    yield server
    server.close()


@pytest.fixture
def edfi() -> Iterator[EdFi]:
    server = EdFi(free_port())
    yield server
    server.close()


@pytest.fixture(scope="session")
def forge() -> Iterator[Forge]:
    """One warm forkserver for all tests: importing earthmover costs seconds."""
    made = Forge()
    yield made
    made.close()


@pytest.fixture
def runner(platform: Platform, forge: Forge, tmp_path: Path) -> Iterator[Runner]:
    environment = {
        "GATEWAY_URL": platform.url,
        "REDIS_URL": "redis://127.0.0.1:1",
        "EXECUTOR_NAME": "test",
        "WORK_FOLDER": str(tmp_path / "work"),
        "HEARTBEAT_TIMEOUT_SECONDS": "4",
    }
    made = Runner(settings=load(Settings, environment), forge=forge)
    yield made
    made.close()


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
def turn(platform: Platform) -> Turn:
    return platform.turn
