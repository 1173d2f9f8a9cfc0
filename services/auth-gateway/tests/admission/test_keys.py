"""Keys of issuers: lazily, rarely, and kept while the issuer is away."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from common.clock import FixedClock
from gateway.keys import FAILURE_PAUSE_SECONDS, MAX_AGE_SECONDS, UNKNOWN_KID_PAUSE_SECONDS, KeySet

INVALID = (401, "Invalid token")
UNAVAILABLE = 503


def test_keys_are_fetched_on_first_use_and_once(door: Any, keys: Any, tools: Any) -> None:
    assert door.fetches == 0
    for number in range(5):
        door.admitted(tools.mint(keys.rsa, door.claims(n=number)))
    assert door.fetches == 1


def test_an_issuer_that_was_never_seen_is_a_503_and_not_a_401(door: Any, keys: Any, tools: Any) -> None:
    door.is_down = True
    token = tools.mint(keys.rsa, door.claims())
    decision = door.knock(token)
    assert decision.problem.status == UNAVAILABLE
    assert decision.problem.headers["Retry-After"]
    door.is_down = False
    door.clock.advance(FAILURE_PAUSE_SECONDS)
    door.admitted(token)


def test_a_dead_issuer_is_not_asked_for_every_token(door: Any, keys: Any, tools: Any) -> None:
    door.is_down = True
    for number in range(20):
        assert door.refusal(tools.mint(keys.rsa, door.claims(n=number)))[0] == UNAVAILABLE
    assert door.fetches == 1


def test_keys_are_kept_while_the_issuer_is_away(door: Any, keys: Any, tools: Any) -> None:
    door.admitted(tools.mint(keys.rsa, door.claims()))
    door.is_down = True
    door.clock.advance(MAX_AGE_SECONDS + 1)
    door.admitted(tools.mint(keys.rsa, door.claims()))
    assert door.refusal(tools.mint(keys.other_rsa, door.claims())) == INVALID


def test_a_new_key_is_found_by_its_unknown_kid(door: Any, keys: Any, tools: Any) -> None:
    door.admitted(tools.mint(keys.rsa, door.claims()))
    door.clock.advance(UNKNOWN_KID_PAUSE_SECONDS)
    door.published = [keys.other_rsa.as_dict(private=False), keys.rsa.as_dict(private=False)]
    door.admitted(tools.mint(keys.other_rsa, door.claims()))
    door.admitted(tools.mint(keys.rsa, door.claims()))
    assert door.fetches == 2


def test_unknown_kids_cannot_make_us_ask_again_and_again(door: Any, keys: Any, tools: Any) -> None:
    door.admitted(tools.mint(keys.rsa, door.claims()))
    for number in range(30):
        assert door.refusal(tools.mint(keys.other_rsa, door.claims(), kid=f"k{number}")) == INVALID
    assert door.fetches == 1
    door.clock.advance(UNKNOWN_KID_PAUSE_SECONDS)
    for number in range(30):
        assert door.refusal(tools.mint(keys.other_rsa, door.claims(), kid=f"l{number}")) == INVALID
    assert door.fetches == 2


def test_a_verdict_goes_when_its_key_is_withdrawn(door: Any, keys: Any, tools: Any) -> None:
    token = tools.mint(keys.rsa, door.claims())
    door.admitted(token)
    door.published = [keys.other_rsa.as_dict(private=False)]
    door.clock.advance(UNKNOWN_KID_PAUSE_SECONDS)
    door.admitted(tools.mint(keys.other_rsa, door.claims()))  # its unknown kid brings the new key set
    assert door.refusal(token) == INVALID


def test_a_verdict_goes_when_another_key_takes_its_kid(door: Any, keys: Any, tools: Any) -> None:
    token = tools.mint(keys.rsa, door.claims())
    door.admitted(token)
    door.published = [{**keys.other_rsa.as_dict(private=False), "kid": keys.rsa.kid}]
    door.clock.advance(UNKNOWN_KID_PAUSE_SECONDS)
    assert door.refusal(tools.mint(keys.other_rsa, door.claims(), kid="new")) == INVALID
    assert door.refusal(token) == INVALID


def test_a_withdrawn_key_is_noticed_without_any_unknown_kid(door: Any, keys: Any, tools: Any) -> None:
    door.admitted(tools.mint(keys.rsa, door.claims()))
    door.published = []
    door.clock.advance(MAX_AGE_SECONDS + 1)
    assert door.refusal(tools.mint(keys.rsa, door.claims())) == INVALID


def test_threads_that_come_at_once_fetch_once(keys: Any) -> None:
    fetched = []
    barrier = Barrier(8)

    def fetch() -> list[Any]:
        fetched.append(1)
        return [keys.rsa.as_dict(private=False)]

    key_set = KeySet("x", fetch, FixedClock())

    def find() -> int:
        barrier.wait(5)
        return len(key_set.find(keys.rsa.kid, "RS256"))

    with ThreadPoolExecutor(8) as threads:
        assert [future.result(5) for future in [threads.submit(find) for _ in range(8)]] == [1] * 8
    assert len(fetched) == 1
