"""A catalog with one partner to create jobs for, and short ways to do it."""

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from common.database import transaction
from common.objects import S3Store
from common.sealing import Sealer
from jobs.catalog import bundles, declarations, provisioning
from jobs.catalog.audit import Actor
from jobs.services import Services

PARTNERS = """
partners:
  - code: ea
    name: Education Agency
    tenants: [{code: ea, name: Education Agency}, {code: north, name: North}]
    school_years:
      - {year: 2023, enabled: false}
      - {year: 2026}
      - {year: 2027, sends_to_ods: true}
    bundles: [assessments/SAT, assessments/Matched, tests/echo]
    ods:
      - {tenant: ea, year: 2027, url: "http://ods", client_id_env: ODS_ID, client_secret_env: ODS_SECRET}
  - code: acme
    name: Acme
    tenants: [{code: acme, name: Acme}]
    school_years: [{year: 2026}]
"""
METADATA = """
    display_name: Test results
    path: {key}
    input_files:
      - {{env_var: INPUT_FILE, is_required: true, file_type: [csv]}}
      - {{env_var: EXTRA_FILE, is_required: false}}
    input_params:
      - {{env_var: API_YEAR, is_required: true}}
      - {{env_var: TEST_TYPE, is_required: true, allowed_values: [PSAT, SAT]}}
      - {{env_var: NOTE, is_required: false}}
"""
ODS = {"ODS_ID": "ods-client", "ODS_SECRET": "ods-secret-value"}
GOOD = {
    "partner": "ea",
    "tenant": "ea",
    "bundle": "assessments/SAT",
    "schoolYear": "2026",
    "files": {"INPUT_FILE": "results.csv"},
    "params": {"TEST_TYPE": "SAT"},
}


def write_bundle(root: Path, key: str, **files: str) -> Path:
    """Make a bundle's folder; the names of `files` are without their `.yaml`."""
    folder = root / key
    folder.mkdir(parents=True)
    files.setdefault("_metadata", METADATA.format(key=key))
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(textwrap.dedent(content))
    return folder


@pytest.fixture(scope="module", autouse=True)
def catalog(engine: Engine, store: S3Store, sealer: Sealer, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("source")
    direct = "config:\n  parameter_defaults:\n    STUDENT_ID_NAME: ID\n"
    write_bundle(root, "assessments/SAT", earthmover=direct)
    write_bundle(root, "assessments/Matched", earthmover="config:\n  output_dir: ${OUTPUT_DIR}\n")
    write_bundle(root, "tests/echo", executor="kind: echo\n")
    write_bundle(root, "tests/NotEnabled", earthmover=direct)
    wrapper = root / "packages" / "student_id_wrapper"
    wrapper.mkdir(parents=True)
    (wrapper / "earthmover.yaml").write_text("config:\n  output_dir: ${OUTPUT_DIR}\n")
    with transaction(engine) as connection:
        declared = declarations.read(PARTNERS, ODS)
        provisioning.provision(connection, declared, sealer, actor=Actor(name="tests", place="here"))
    assert not [report for report in bundles.import_all(engine, store, root) if report.fault]


@pytest.fixture
def create(door: Any) -> Callable[..., TestResponse]:
    """Create a job, good but for what is named; a member named None is left out."""

    def post(caller: Any = None, headers: Any = None, query: str = "", **changed: Any) -> TestResponse:
        body = {name: value for name, value in {**GOOD, **changed}.items() if value is not None}
        options = {"caller": caller} if caller else {}
        answer: TestResponse = door.post(f"/api/v1/jobs{query}", body, headers=headers or {}, **options)
        return answer

    return post


@pytest.fixture
def uploaded(create: Callable[..., TestResponse], services: Services) -> Callable[..., str]:
    """Create a job with its files in storage and give its uid."""

    def make(**changed: Any) -> str:
        answer = create(**changed)
        assert answer.status_code == 201, answer.text
        uid: str = answer.get_json()["uid"]
        asked = {**GOOD, **changed}
        place = f"inputs/{asked['partner']}/{asked['tenant']}/{asked['schoolYear']}/{uid}"
        for key, name in asked["files"].items():
            services.store.write(f"{place}/{key}/{name}", b"id,score\n1,2\n")
        return uid

    return make
