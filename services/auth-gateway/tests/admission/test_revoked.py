"""What admission makes of revocations: a cached verdict is asked about each time."""

from typing import Any

import pytest

from gateway.admission import Forward


@pytest.fixture
def token(door: Any, keys: Any, tools: Any) -> str:
    made: str = tools.mint(keys.rsa, door.claims())
    return made


def test_a_revoked_client_is_refused_at_once_though_its_verdict_is_cached(door: Any, token: str) -> None:
    assert isinstance(door.knock(token), Forward)
    door.revoked.clients.add("runway-api")
    assert door.refusal(token) == (401, "Invalid token")
    assert door.refusal(token) == (401, "Invalid token")


def test_a_token_nobody_has_seen_yet_is_checked_too(door: Any, token: str) -> None:
    door.revoked.clients.add("runway-api")
    assert door.refusal(token) == (401, "Invalid token")


def test_when_nobody_can_say_it_is_a_503_and_nothing_is_remembered(door: Any, token: str) -> None:
    assert isinstance(door.knock(token), Forward)
    door.revoked.knows_nothing = True
    assert door.refusal(token)[0] == 503
    door.revoked.knows_nothing = False
    assert isinstance(door.knock(token), Forward)


def test_a_verdict_remembers_when_and_as_what_a_token_was_issued(door: Any, keys: Any, tools: Any) -> None:
    token = tools.mint(keys.rsa, door.claims(jti="j-1"))
    verdict = door.admission.authenticate(token)
    assert (verdict.issued_at, verdict.token_id) == (door.now, "j-1")
    for iat in (None, "yesterday", -1, True):
        assert door.admission.authenticate(tools.mint(keys.rsa, door.claims(iat=iat))).issued_at == 0
