"""The commands: what they print, their exit codes, and that no secret is in either."""

from pathlib import Path
from typing import Any

import pytest

from jobs import cli
from jobs.services import Services

FILE = """
partners:
  - code: cli
    name: Command line
    tenants: [{code: t, name: T}]
    ods: [{tenant: t, year: 2026, url: "http://ods", client_id_env: ODS_ID, client_secret_env: ODS_SECRET}]
"""


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, services: Services) -> pytest.MonkeyPatch:
    settings = services.settings
    names = ("url", "public_url", "region", "bucket", "access_key", "secret_key")
    values = {f"S3_{name.upper()}": getattr(settings, f"s3_{name}") for name in names}
    keys = {"SEALING_KEYS": "seal:" + (b"s" * 32).hex(), "ODS_ID": "c", "ODS_SECRET": "hush-hush"}
    for name, value in {**values, **keys, "DATABASE_URL": settings.database_url}.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "partners.yaml"
    path.write_text(FILE)
    return str(path)


def test_provision_prints_the_plan_then_that_nothing_is_to_do(
    environment: Any, file: str, capsys: Any
) -> None:
    assert cli.main(["provision", file, "--dry-run"]) == 0
    assert "4 changes planned, none made." in capsys.readouterr().out
    assert cli.main(["provision", file]) == 0
    assert "+ ods cli/t 2026  http://ods\n4 changes made.\n" in capsys.readouterr().out
    assert cli.main(["provision", file]) == 0
    said = capsys.readouterr()
    assert said.out == "Nothing to change.\n"
    assert "hush-hush" not in said.out + said.err


def test_a_missing_secret_is_named_and_the_exit_code_is_1(environment: Any, file: str, capsys: Any) -> None:
    environment.delenv("ODS_SECRET")
    assert cli.main(["provision", file]) == 1
    assert "ODS_SECRET is not set in the environment" in capsys.readouterr().err
    assert cli.main(["provision", "nowhere.yaml"]) == 1


def test_an_incomplete_environment_is_exit_code_2(environment: Any, file: str, capsys: Any) -> None:
    environment.delenv("DATABASE_URL")
    assert cli.main(["provision", file]) == 2
    assert "DATABASE_URL is missing" in capsys.readouterr().err


def test_a_database_that_is_away_is_told_in_one_sentence(environment: Any, file: str, capsys: Any) -> None:
    environment.setenv("DATABASE_URL", "postgresql://jobs:x@127.0.0.1:1/taxiway")
    assert cli.main(["provision", file]) == 1
    assert capsys.readouterr().err.startswith("The database does not answer")


def test_import_reports_every_folder(environment: Any, tmp_path: Path, capsys: Any) -> None:
    for name, path in (("Good", "assessments/CliGood"), ("Bad", "bad")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "_metadata.yaml").write_text(f"path: {path}")
    assert cli.main(["import-bundles", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "+ assessments/CliGood  version 1, direct\n    warning: has no earthmover.yaml" in said.out
    assert said.out.endswith("1 imported (1 new), 1 faulty.\n")
    assert said.err == "x Bad  path must be two names with a slash between them\n"


def test_a_source_without_bundles_is_exit_code_1(environment: Any, tmp_path: Path, capsys: Any) -> None:
    assert cli.main(["import-bundles", str(tmp_path)]) == 1
    assert cli.main(["import-bundles", str(tmp_path / "none")]) == 1
    assert "is not a folder" in capsys.readouterr().err
