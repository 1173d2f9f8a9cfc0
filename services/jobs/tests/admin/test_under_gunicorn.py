"""One worker as in production: what takes long for one caller holds up no other."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from signal import SIGTERM
from typing import Any
from uuid import uuid4

import pytest
import urllib3
from sqlalchemy import Engine, text

from common import principal
from common.database import transaction
from common.objects import S3Store
from common.principal import Principal
from jobs.catalog import rosters
from jobs.engine import line
from jobs.engine.line import NewRun
from jobs.services import Services
from stack.launch import Launch, Server, this_python
from stack.ports import free_port
from stack.processes import answers_ok

WAIT_SECONDS = 120.0
STUDENTS = 380_000
STUDENT = (
    b'{"educationOrganizationReference": {"educationOrganizationId": 1}, '
    b'"studentReference": {"studentUniqueId": "6"}, "studentIdentificationCodes": []}\n'
)
NEW_JOB = text("INSERT INTO job (uid, partner, kind, spec) VALUES (:uid, :partner, 'bundle', '{}')")
EDITOR = Principal(
    kind="client", subject="e", client_id="e", issuer="https://ours", roles=frozenset({"Editor"})
)


@pytest.fixture(scope="module")
def port(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The service in one worker, on the module's database."""
    settings, chosen, folder = services.settings, free_port(), tmp_path_factory.mktemp("jobs")
    storage = {name.upper(): value for name, value in asdict(settings).items() if name.startswith("s3_")}
    environment = {
        "PORT": str(chosen),
        "WEB_WORKERS": "1",
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "SIGNATURE_KEYS": f"test:{settings.signature_keys['test'].hex()}",
        "SEALING_KEYS": f"seal:{settings.sealing_keys['seal'].hex()}",
        "RUN_TOKEN_KEY": settings.run_token_key,
        "LOG_LEVEL": "warning",
        **storage,
    }
    launch = Launch(
        name="jobs",
        command=this_python("gunicorn", "-c", "python:common.serving", "jobs.wsgi:build()"),
        folder=folder,
        stop_signal=SIGTERM,
        is_ready=answers_ok(f"http://127.0.0.1:{chosen}/readyz"),
        environment=environment,
    )
    server = Server(launch, folder / "log", on_start=lambda _: None)
    try:
        server.start().wait_ready(timeout_seconds=60)
        yield chosen
        assert "Traceback" not in (folder / "log").read_text()
    finally:
        server.stop(timeout_seconds=60)


def call(services: Services, port: int, caller: Principal, method: str, target: str, body: Any) -> int:
    keys = services.settings.signature_keys
    headers = principal.signed_headers(caller, method, target, keys, int(time.time()))
    url = f"http://127.0.0.1:{port}{target}"
    answer = urllib3.request(method, url, json=body, headers=headers, timeout=WAIT_SECONDS, retries=False)
    return answer.status


def executor(engine: Engine, partner: str) -> Principal:
    """Whoever works on a new run."""
    uid = uuid4()
    new = NewRun(job_id=uid, partner=partner, payload={}, inputs={}, created_by="test", caller=True)
    with transaction(engine) as connection:
        connection.execute(NEW_JOB, {"uid": uid, "partner": partner})
        run = line.submit(connection, new)
    scopes = frozenset({"run:work"})
    return Principal(
        kind="run", subject=str(run.id), run=str(run.id), lease=run.lease, attempt=1, scopes=scopes
    )


def test_heartbeats_are_answered_while_a_large_roster_is_read(
    services: Services, port: int, partner: str, engine: Engine, store: S3Store
) -> None:
    upload, beating = str(uuid4()), executor(engine, partner)
    store.write(rosters.upload_key(partner, "t", "2026", upload), STUDENT * STUDENTS)
    target = f"/api/v1/admin/partners/{partner}/tenants/t/rosters/2026"
    beat = f"/sdk/v1/runs/{beating.run}/heartbeat"
    began, waits = time.monotonic(), []
    with ThreadPoolExecutor(1) as threads:
        put = threads.submit(call, services, port, EDITOR, "PUT", target, {"uploadUid": upload})
        while not put.done():
            asked = time.monotonic()
            assert call(services, port, beating, "POST", beat, {}) == 200
            waits.append(time.monotonic() - asked)
    assert put.result() == 200
    assert max(waits) < (time.monotonic() - began) / 3  # held up, one would wait for most of it
