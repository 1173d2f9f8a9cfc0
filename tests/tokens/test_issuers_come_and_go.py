"""Keys are found, renewed and kept whatever the issuers do (external-api.md §1)."""

import threading
import time
from collections.abc import Callable
from typing import Any

from doors import Call, require_problem, send
from issuers import ForeignIssuer, Key
from urllib3 import BaseHTTPResponse

PATIENCE_SECONDS = 20
VERIFY = Call(service="gateway", method="POST", target="/api/v1/token/verify")


def verify(gateway: str, token: str) -> BaseHTTPResponse:
    return send(gateway, VERIFY, {"Authorization": f"Bearer {token}"})


def require_unavailable(answer: BaseHTTPResponse) -> None:
    problem = require_problem(answer, 503)
    assert problem["type"] == "/problems/issuer-unavailable"
    assert int(answer.headers["Retry-After"]) > 0


def wait_for(status: int, ask: Callable[[], BaseHTTPResponse]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while (seen := ask().status) != status:
        assert time.monotonic() < until, seen
        time.sleep(0.1)


def test_an_issuer_that_hangs_is_a_503_and_holds_up_no_other(gateway: str, foreign: Any) -> None:
    answers: list[BaseHTTPResponse] = []
    waiting = threading.Thread(target=lambda: answers.append(verify(gateway, foreign.hanging.token())))
    waiting.start()
    assert verify(gateway, foreign.steady.token()).status == 200
    assert waiting.is_alive()
    waiting.join(PATIENCE_SECONDS)
    require_unavailable(answers[0])


def test_an_issuer_that_was_down_at_our_start_is_found_when_it_comes(gateway: str, foreign: Any) -> None:
    late: ForeignIssuer = foreign.late
    require_unavailable(verify(gateway, late.token()))
    late.start()
    wait_for(200, lambda: verify(gateway, late.token()))


def test_keys_once_seen_are_kept_while_their_issuer_is_away(gateway: str, foreign: Any) -> None:
    steady: ForeignIssuer = foreign.steady
    assert verify(gateway, steady.token()).status == 200
    steady.stop()
    try:
        assert verify(gateway, steady.token(sub="never seen before")).status == 200
    finally:
        steady.start()


def test_a_new_key_is_found_by_its_kid_and_the_old_one_is_out(gateway: str, foreign: Any) -> None:
    rotating: ForeignIssuer = foreign.rotating
    first, second = rotating.keys[0], Key("RS256", "second")
    old = rotating.token(first)
    wait_for(200, lambda: verify(gateway, old))
    rotating.keys = [second]
    wait_for(200, lambda: verify(gateway, rotating.token(second)))
    assert require_problem(verify(gateway, old), 401)["detail"] == "Invalid token"


def test_unknown_kids_do_not_make_us_ask_again_and_again(gateway: str, foreign: Any) -> None:
    steady: ForeignIssuer = foreign.steady
    begun, before = time.monotonic(), steady.fetches
    for turn in range(20):
        unknown = steady.token(Key("ES256", f"unknown-{turn}"))
        assert require_problem(verify(gateway, unknown), 401)["detail"] == "Invalid token"
    pauses = (time.monotonic() - begun) / 5  # one fetch each five seconds at most
    assert steady.fetches - before <= 1 + pauses
