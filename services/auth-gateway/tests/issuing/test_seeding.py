"""Declaring client applications from a file."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from common import database
from gateway import cli as gateway_cli

TOKEN = "/realms/example/protocol/openid-connect/token"
GOOD = {"grant_type": "client_credentials", "client_id": "runway-api", "client_secret": "api-secret-123"}


def test_seeding_again_changes_what_the_file_changes_and_nothing_else(
    engine: Any, client: Any, database_url: str, seed_file: str, tmp_path: Path
) -> None:
    before = _rows(engine)
    path = tmp_path / "clients.yaml"
    path.write_text(seed_file.replace("api-secret-123", "new-secret"), encoding="utf-8")
    gateway_cli.seed(path, database_url)
    assert _rows(engine) == before
    assert client.post(TOKEN, data=GOOD).status_code == 401
    assert client.post(TOKEN, data={**GOOD, "client_secret": "new-secret"}).status_code == 200
    path.write_text(seed_file, encoding="utf-8")
    gateway_cli.seed(path, database_url)
    assert client.post(TOKEN, data=GOOD).status_code == 200


def _rows(engine: Any) -> list[Any]:
    columns = "a.id, a.client_id, a.name, a.scopes, r.role_id, r.partner, a.enabled, a.created_at"
    query = f"""
        SELECT {columns} FROM gateway.client_application a
        LEFT JOIN gateway.access_rule r ON r.application_id = a.id ORDER BY a.id
    """
    with database.transaction(engine) as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def test_a_secret_is_stored_as_a_hash(engine: Any) -> None:
    with database.transaction(engine) as connection:
        hashes = (
            connection.execute(text("SELECT secret_hash FROM gateway.client_application")).scalars().all()
        )
    assert all(each.startswith("scrypt$") and "secret" not in each for each in hashes)


@pytest.mark.parametrize(
    ("text_", "fault"),
    [
        ("", "no list `clients`"),
        ("clients: 5", "no list `clients`"),
        ("[", "no list `clients`"),
        ("clients: [5]", "client 5"),
        ("clients: [{client_id: a_b, name: n, secret: s}]", "client 'a_b': client_id"),
        ("clients: [{client_id: a, name: n, secret: ''}]", "must not be empty"),
        ("clients: [{client_id: a}]", "client 'a'"),
        ("clients: [{client_id: a, name: n, secret: s, scopes: ['a b']}]", "scopes"),
        ("clients: [{client_id: a, name: n, secret: s, roles: [Boss]}]", "roles"),
        ("clients: [{client_id: 5, name: n, secret: s}]", "client 5"),
    ],
)
def test_a_faulty_file_of_clients_says_which_and_why(tmp_path: Path, text_: str, fault: str) -> None:
    path = tmp_path / "clients.yaml"
    path.write_text(text_)
    with pytest.raises(gateway_cli.SeedError, match=fault):
        gateway_cli.read(path)
