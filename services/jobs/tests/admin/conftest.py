"""Clients with roles, a partner made by one of them, and bundles to enable."""

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from common.database import transaction
from common.objects import S3Store
from common.principal import Principal
from jobs.catalog import bundles
from jobs.engine import line

METADATA = """
    display_name: Results
    path: {key}
    input_files:
      - {{env_var: INPUT_FILE, is_required: true, file_type: [csv]}}
    descriptor_mapping_files: [gradeLevelDescriptors.csv]
"""
DIRECT = "config:\n  parameter_defaults:\n    STUDENT_ID_NAME: ID\n"
PARTNER = {
    "name": "Managed Agency",
    "tenants": [{"code": "t"}, {"code": "north", "name": "North"}],
    "schoolYears": [{"schoolYear": "2026"}, {"schoolYear": 2027, "sendsToOds": True}],
    "bundles": ["assessments/Direct", {"bundle": "assessments/Matched"}],
}


def holder(role: str) -> Principal:
    """A client application of our own issuer that has a role and no partner."""
    return Principal(
        kind="client", subject=role, client_id=f"the-{role}", issuer="https://ours", roles=frozenset({role})
    )


@pytest.fixture(scope="module", autouse=True)
def imported(engine: Engine, store: S3Store, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("source")
    projects = {"Direct": DIRECT, "Matched": "config:\n  output_dir: ${OUTPUT_DIR}\n"}
    for name, project in projects.items():
        folder = root / "assessments" / name
        folder.mkdir(parents=True)
        metadata = textwrap.dedent(METADATA.format(key=f"assessments/{name}"))
        (folder / "_metadata.yaml").write_text(metadata)
        (folder / "earthmover.yaml").write_text(project)
    _wrapper(root)
    assert not [report for report in bundles.import_all(engine, store, root) if report.fault]


def _wrapper(root: Path) -> None:
    wrapper = root / "packages" / "student_id_wrapper"
    wrapper.mkdir(parents=True)
    (wrapper / "earthmover.yaml").write_text("config:\n  output_dir: ${OUTPUT_DIR}\n")


@pytest.fixture
def ask(door: Any) -> Callable[..., TestResponse]:
    """Call the admin API as the holder of a role, an Editor if not said."""

    def call(
        method: str, path: str, body: Any = None, *, role: str = "Editor", **options: Any
    ) -> TestResponse:
        if body is not None:
            options["json"] = body
        answer: TestResponse = door.call(holder(role), method, f"/api/v1/admin{path}", **options)
        return answer

    return call


@pytest.fixture
def partner(ask: Callable[..., TestResponse]) -> str:
    """A partner of the test's own, with two tenants, two school years and two bundles."""
    code = f"p{uuid4().hex[:8]}"
    assert ask("PUT", f"/partners/{code}", PARTNER).status_code == 201
    return code


@pytest.fixture
def create(door: Any) -> Callable[..., TestResponse]:
    """Create a job as a client of the partner."""

    def post(partner: str, bundle: str = "assessments/Direct", year: str = "2026") -> TestResponse:
        caller = Principal(
            kind="client",
            subject="c",
            client_id="c",
            scopes=frozenset({"create:jobs", "read:jobs"}),
            partners=frozenset({partner}),
        )
        body = {"partner": partner, "tenant": "t", "bundle": bundle, "schoolYear": year}
        files = {"INPUT_FILE": "a.csv"}
        answer: TestResponse = door.call(caller, "POST", "/api/v1/jobs", json={**body, "files": files})
        return answer

    return post


@pytest.fixture
def started(door: Any, services: Any) -> Callable[..., str]:
    """Upload the file of a created job, start it and give the run's uid."""

    def start(partner: str, created: TestResponse, body: Any = None, year: str = "2026") -> str:
        uid = created.get_json()["uid"]
        services.store.write(f"inputs/{partner}/t/{year}/{uid}/INPUT_FILE/a.csv", b"id\n1\n")
        caller = Principal(
            kind="client",
            subject="c",
            client_id="c",
            scopes=frozenset({"create:jobs"}),
            partners=frozenset({partner}),
        )
        answer = door.call(caller, "POST", f"/api/v1/jobs/{uid}/start", json=body or {})
        assert answer.status_code == 202, answer.text
        run: str = answer.get_json()["runUid"]
        return run

    return start


@pytest.fixture
def payload_of(services: Any) -> Callable[[str], dict[str, Any]]:
    """Make the work order of a run."""

    def order(run: str) -> dict[str, Any]:
        with transaction(services.engine) as connection:
            found = line.find(connection, UUID(run))
            payload: dict[str, Any] = services.work_order(connection, found).payload
            return payload

    return order
