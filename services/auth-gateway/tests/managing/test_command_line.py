"""The command line: the first administrator, and the local deny list."""

import sys
from typing import Any

import pytest
from sqlalchemy import Engine, text

from common import database
from gateway import cli
from gateway.revocations import CLIENT, foreign


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: str) -> str:
        monkeypatch.setenv("DATABASE_URL", database_url)
        monkeypatch.setattr(sys, "argv", ["gateway.cli", *arguments])
        cli.main()
        return capsys.readouterr().out

    return call


def test_the_first_administrator_is_made_once_and_may_manage(
    house: Any, run: Any, gateway_engine: Engine
) -> None:
    with database.transaction(gateway_engine) as connection:
        connection.execute(text("DELETE FROM gateway.client_application"))
    told = dict(line.split(": ") for line in run("first-administrator").splitlines()[:2])
    token = house.log_in(told["clientId"], told["secret"]).json["access_token"]
    assert house.ask("GET", "/api/v1/apps", token=token).status_code == 200
    with pytest.raises(SystemExit, match="There is an enabled administrator"):
        run("first-administrator", "--name", "second")


def test_a_disabled_administrator_does_not_count_but_its_name_does(
    house: Any, run: Any, gateway_engine: Engine
) -> None:
    with database.transaction(gateway_engine) as connection:
        connection.execute(text("UPDATE gateway.client_application SET enabled = false"))
    with pytest.raises(SystemExit, match="Another application is named Admin"):
        run("first-administrator", "--name", "Admin")
    assert "secret" in run("first-administrator", "--name", "rescue")


def test_a_denied_client_of_a_provider_is_revoked_until_it_is_allowed(
    house: Any, run: Any, gateway_engine: Engine
) -> None:
    found = text("SELECT before_at FROM gateway.revocation WHERE kind = :kind AND subject = :subject")
    values = {"kind": CLIENT, "subject": foreign("https://idp.example", "their-client")}
    for command, denied in (("deny", 1), ("allow", 0)):
        run(command, "https://idp.example", "their-client")
        with database.transaction(gateway_engine) as connection:
            rows = connection.execute(found, values).scalars().all()
        assert len(rows) == denied
        assert all(row.year == 9999 for row in rows)


def test_without_a_database_a_command_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere")
    monkeypatch.setattr(sys, "argv", ["gateway.cli", "first-administrator"])
    with pytest.raises(SystemExit, match="refused"):
        cli.main()
