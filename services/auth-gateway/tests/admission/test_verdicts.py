"""The verdict cache: short, bounded, never past a token's end."""

from typing import Any

from common.principal import Principal
from gateway import problems
from gateway.headers import Block, digest
from gateway.tokens import Accepted
from gateway.verdicts import BAD_SECONDS, GOOD_SECONDS, Rejected, Unavailable, Verdicts


def accepted(expires_at: float) -> Accepted:
    caller = Principal(kind="client", subject="s")
    return Accepted(
        principal=caller,
        has_scope=True,
        issuer="i",
        key_thumbprint="t",
        expires_at=expires_at,
        issued_at=0,
        token_id="",
    )


def test_a_good_verdict_is_kept_for_a_minute() -> None:
    verdicts = Verdicts()
    verdicts.put(b"a", accepted(10_000), 100)
    assert verdicts.get(b"a", 100 + GOOD_SECONDS - 1)
    assert verdicts.get(b"a", 100 + GOOD_SECONDS) is None


def test_a_good_verdict_never_outlives_its_token() -> None:
    verdicts = Verdicts()
    verdicts.put(b"a", accepted(103), 100)
    assert verdicts.get(b"a", 102.9)
    assert verdicts.get(b"a", 103) is None


def test_a_failure_is_kept_for_two_seconds() -> None:
    verdicts = Verdicts()
    verdicts.put(b"a", Rejected(reason="x"), 100)
    assert verdicts.get(b"a", 101)
    assert verdicts.get(b"a", 100 + BAD_SECONDS) is None


def test_not_knowing_is_not_kept() -> None:
    verdicts = Verdicts()
    verdicts.put(b"a", Unavailable(problem=problems.unavailable()), 100)
    assert verdicts.get(b"a", 100) is None


def test_the_longest_unused_goes_first_and_garbage_pushes_no_good_one_out() -> None:
    verdicts = Verdicts(good_entries=2, bad_entries=2)
    for name in (b"a", b"b"):
        verdicts.put(name, accepted(10_000), 100)
    assert verdicts.get(b"a", 100)
    verdicts.put(b"c", accepted(10_000), 100)
    for number in range(50):
        verdicts.put(b"%d" % number, Rejected(reason="x"), 100)
    assert [bool(verdicts.get(name, 100)) for name in (b"a", b"b", b"c")] == [True, False, True]


def test_verdicts_that_ended_are_not_kept_until_there_are_too_many() -> None:
    verdicts = Verdicts()
    for number in range(5):
        verdicts.put(b"%d" % number, accepted(10_000), 100)
    verdicts.put(b"a", accepted(10_000), 100 + GOOD_SECONDS)
    assert len(verdicts._good._entries) == 1


def test_a_known_token_is_decided_without_looking_at_its_signature(door: Any, keys: Any, tools: Any) -> None:
    token = tools.mint(keys.rsa, door.claims())
    door.admitted(token)
    assert door.verdicts.get(digest(token), door.now)
    first = door.admission.consider("GET", "/api/v1/jobs", Block({"authorization": f"Bearer {token}"}))
    assert first.principal.client_id == "runway-api"
