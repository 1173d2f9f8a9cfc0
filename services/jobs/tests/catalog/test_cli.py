"""The commands: what they print, their exit codes, and that no secret is in either."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from common.database import transaction
from common.sealing import Sealer
from jobs import cli
from jobs.catalog import ods
from jobs.deliveries import webhooks
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


def test_pruning_shows_what_ends_and_ends_it(environment: Any, tmp_path: Path, capsys: Any) -> None:
    more, less = tmp_path / "more.yaml", tmp_path / "less.yaml"
    more.write_text("partners: [{code: pruned, tenants: [{code: a}, {code: b}]}]")
    less.write_text("partners: [{code: pruned, tenants: [{code: a}]}]")
    assert cli.main(["provision", str(more)]) == cli.main(["provision", str(less)]) == 0
    assert capsys.readouterr().out.endswith("Nothing to change.\n")
    assert cli.main(["provision", str(less), "--prune", "--dry-run"]) == 0
    assert capsys.readouterr().out == "- tenant pruned/b  retired\n1 change planned, none made.\n"
    assert cli.main(["provision", str(less), "--prune"]) == 0
    assert capsys.readouterr().out == "- tenant pruned/b  retired\n1 change made.\n"


def test_a_roster_is_put_by_its_partner_tenant_and_year(
    environment: Any, tmp_path: Path, capsys: Any, rows: Any
) -> None:
    partners, roster = tmp_path / "partners.yaml", tmp_path / "roster.jsonl"
    partners.write_text("partners: [{code: ros, tenants: [{code: t}], school_years: [{year: 2026}]}]")
    assert cli.main(["provision", str(partners)]) == 0
    place = ["--partner", "ros", "--tenant", "t", "--year", "2026"]
    roster.write_text('{"studentReference": {"studentUniqueId": "Kowalski"}}')
    assert cli.main(["roster", str(roster), *place]) == 1
    said = capsys.readouterr()
    assert "line 1: educationOrganizationReference must be an object" in said.err
    roster.write_text(
        '{"educationOrganizationReference": {"schoolId": 1}, "studentIdentificationCodes": [],'
        ' "studentReference": {"studentUniqueId": "Kowalski"}}'
    )
    assert cli.main(["roster", str(roster), *place]) == 0
    assert capsys.readouterr().out.startswith("+ roster ros/t 2026  1 students, sha256 ")
    assert cli.main(["roster", str(roster), "--partner", "ros", "--tenant", "x", "--year", "2026"]) == 1
    said = capsys.readouterr()
    assert "ros/x does not exist" in said.err
    noted = rows("SELECT actor, subject, data FROM audit WHERE action = 'roster.put'")
    assert (noted[0]["actor"].partition(":")[0], noted[0]["subject"]) == ("operator", "ros/t 2026")
    assert "Kowalski" not in str(said) + str(noted)


def test_a_mapping_is_put_under_a_name_the_bundle_lists(
    environment: Any, tmp_path: Path, capsys: Any
) -> None:
    bundle, partners = tmp_path / "source" / "Mapped", tmp_path / "partners.yaml"
    bundle.mkdir(parents=True)
    (bundle / "_metadata.yaml").write_text("path: assessments/CliMapped\ndescriptor_mapping_files: [a.csv]")
    partners.write_text("partners: [{code: map, tenants: [{code: t}]}]")
    assert cli.main(["import-bundles", str(bundle.parent)]) == cli.main(["provision", str(partners)]) == 0
    mapping = tmp_path / "mine.csv"
    mapping.write_text("code,descriptor\n1,One\n")
    asked = [
        "mapping",
        str(mapping),
        "--partner",
        "map",
        "--tenant",
        "t",
        "--bundle",
        "assessments/CliMapped",
    ]
    capsys.readouterr()
    assert cli.main(asked) == 1
    assert "no descriptor mapping mine.csv: it lists a.csv" in capsys.readouterr().err
    assert cli.main([*asked, "--name", "a.csv"]) == 0
    assert capsys.readouterr().out.startswith("+ mapping map/t assessments/CliMapped a.csv  sha256 ")


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


def test_reseal_seals_every_secret_with_the_first_key_so_that_the_old_one_can_go(
    environment: Any, file: str, capsys: Any, services: Services
) -> None:
    new = "new:" + (b"n" * 32).hex()
    cli.main(["provision", file])
    with transaction(services.engine) as connection:
        place: Any = {"partner": "cli", "url": "https://a.example", "events": ["run.failed"]}
        made = webhooks.create(connection, services.sealer, **place, secret="whsec_x", created_by="c")
    environment.setenv("SEALING_KEYS", f"{new} seal:" + (b"s" * 32).hex())
    capsys.readouterr()
    assert cli.main(["reseal"]) == 0
    assert "hush-hush" not in (said := capsys.readouterr().out)
    assert not said.startswith("0 ")
    environment.setenv("SEALING_KEYS", new)
    assert cli.main(["reseal"]) == 0
    assert capsys.readouterr().out.startswith("0 sealed anew.")
    sealer = Sealer({"new": b"n" * 32})
    with transaction(services.engine) as connection:
        [stored] = ods.live_of(connection, "cli")
        assert ods.unsealed(connection, stored.id, sealer).client_secret == "hush-hush"
        [sealed] = connection.execute(
            text("SELECT secret FROM webhook WHERE id = :id"), {"id": made.id}
        ).one()
        assert sealer.unseal(sealed, webhooks.context(made.id)) == "whsec_x"


def test_reseal_changes_nothing_when_a_key_is_missing(environment: Any, file: str, capsys: Any) -> None:
    cli.main(["provision", file])
    environment.setenv("SEALING_KEYS", "other:" + (b"o" * 32).hex())
    assert cli.main(["reseal"]) == 1
    assert "Nothing was changed" in capsys.readouterr().err
