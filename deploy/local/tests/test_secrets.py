import stat
from pathlib import Path

import pytest

from stack.ports import Ports
from stack.secrets import Secrets, load_or_generate, render_urls


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    made = load_or_generate(tmp_path / "secrets")
    render_urls(made, Ports())
    return made


def test_every_secret_is_readable_by_its_owner_only(secrets: Secrets) -> None:
    modes = {stat.S_IMODE(path.stat().st_mode) for path in secrets.folder.iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE(secrets.folder.stat().st_mode) == 0o700


def test_a_second_start_keeps_every_secret(secrets: Secrets) -> None:
    before = {path.name: path.read_text() for path in secrets.folder.iterdir()}
    render_urls(load_or_generate(secrets.folder), Ports())
    assert {path.name: path.read_text() for path in secrets.folder.iterdir()} == before


def test_a_missing_secret_is_made_beside_the_others(secrets: Secrets) -> None:
    kept = secrets.redis_password("jobs")
    secrets.path("jwt-volume-read").unlink()
    load_or_generate(secrets.folder)
    assert secrets.read("jwt-volume-read")
    assert secrets.redis_password("jobs") == kept


def test_outputs_accepts_the_keys_of_both_who_call_it(secrets: Secrets) -> None:
    accepted = secrets.read("signature-keys-outputs").split()
    senders = [secrets.read(f"signing-key-outputs-from-{sender}") for sender in ("gateway", "courier")]
    assert accepted == senders
    assert len({key.partition(":")[0] for key in accepted}) == 2
