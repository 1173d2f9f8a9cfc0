"""Retry, redaction and steadiness: rules without a database."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.engine.redaction import MARK, redact, secrets_in
from jobs.engine.retry import Backoff, backoff_of, delay_seconds, is_retryable
from jobs.engine.steadiness import Steadiness


@pytest.mark.parametrize(
    ("backoff", "plain"),
    [
        (Backoff(initial_seconds=2, max_seconds=10), [2, 4, 8, 10, 10]),
        (Backoff(kind="linear", initial_seconds=3, max_seconds=8), [3, 6, 8, 8]),
        (Backoff(kind="fixed", initial_seconds=3), [3, 3, 3]),
        (Backoff(kind="custom", delays_seconds=(1, 5, 30)), [1, 5, 30, 30]),
    ],
)
def test_pauses_grow_as_their_kind_says(backoff: Backoff, plain: list[float]) -> None:
    for attempt, expected in enumerate(plain, start=1):
        assert delay_seconds(backoff, attempt, lambda: 0.5) == pytest.approx(expected)
        assert delay_seconds(backoff, attempt, lambda: 0.0) == pytest.approx(expected * 0.8)
        assert delay_seconds(backoff, attempt, lambda: 1.0) == pytest.approx(expected * 1.2)


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_a_pause_is_never_longer_than_the_longest_and_its_jitter(attempt: int, chance: float) -> None:
    assert 0 <= delay_seconds(Backoff(max_seconds=60), attempt, lambda: chance) <= 72


def test_a_stored_backoff_is_read_with_our_defaults() -> None:
    assert backoff_of({}) == Backoff()
    stored = {"backoff": "custom", "delays_secs": [1, 2], "max_delay_secs": 5}
    assert backoff_of(stored) == Backoff(kind="custom", delays_seconds=(1, 2), max_seconds=5)


def test_a_backoff_that_makes_no_sense_cannot_be_built() -> None:
    for fields in ({"kind": "random"}, {"kind": "custom"}, {"initial_seconds": -1.0}):
        with pytest.raises(ValueError):
            Backoff(**fields)


@pytest.mark.parametrize(
    ("retryable", "error_class", "expected"),
    [
        (True, "client", True),
        (False, "server", False),
        (None, "server", True),
        (None, "oom", False),
        (None, "never heard of", False),
        (None, None, False),
    ],
)
def test_the_executors_word_wins_over_the_class(
    retryable: bool | None, error_class: str | None, expected: bool
) -> None:
    assert is_retryable(retryable, error_class) is expected


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Authorization: Bearer abcdefgh12345", f"Authorization: Bearer {MARK}"),
        ("token eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ4In0.c2ln!", f"token {MARK}!"),
        ("key rl_abcd1234_" + "x" * 32, f"key {MARK}"),
        ("GET http://s3/a?X-Amz-Signature=1&X-Amz-Date=2 failed", f"GET http://s3/a?{MARK} failed"),
        ("GET http://s3/a?x=1&x-amz-security-token=abc", f"GET http://s3/a?{MARK}"),
        ("GET http://api/jobs?limit=5&design=new", "GET http://api/jobs?limit=5&design=new"),
        ("what? nothing", "what? nothing"),
        ("password hunter22secret in a line", f"password {MARK} in a line"),
        ("encoded p%40ss%2Fword", f"encoded {MARK}"),
    ],
)
def test_secrets_do_not_reach_the_log(text: str, kept: str) -> None:
    assert redact(text, ["hunter22secret", "p@ss/word", "abc"]) == kept


def test_every_text_within_a_value_is_redacted_keys_too() -> None:
    value = {"hunter22secret": ["x hunter22secret", 5, None, {"a": "Bearer 123456789"}]}
    assert redact(value, ["hunter22secret"]) == {MARK: [f"x {MARK}", 5, None, {"a": f"Bearer {MARK}"}]}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
@settings(max_examples=50, deadline=None)
def test_redaction_keeps_the_shape_of_a_value(value: object) -> None:
    assert type(redact(value)) is type(value)


JWTS = "-eyJaaaaaaaa" * 80_000


def test_redaction_is_quick_on_hostile_lines() -> None:
    began = time.process_time()
    for hostile in (
        "?" * 500_000,
        "?x=" * 200_000,
        "eyJ" * 200_000,
        "Bearer " * 100_000,
        "rl_" * 200_000,
        JWTS,
    ):
        redact(hostile, ["secret-one", "secret-two"])
    assert time.process_time() - began < 3


def test_the_secrets_of_a_work_order_are_those_with_a_name_for_one() -> None:
    payload = {"ods": {"client_id": "me", "client_secret": "s1"}, "list": [{"token": "s2"}], "roster": None}
    assert secrets_in(payload) == {"s1", "s2"}


def test_nobody_is_judged_before_we_ticked_for_long_enough() -> None:
    steadiness = Steadiness(needed_seconds=15, largest_gap_seconds=5)
    assert not steadiness.is_steady(0)
    for second in range(16):
        steadiness.tick(second)
    assert steadiness.is_steady(15)


def test_a_gap_begins_the_watch_anew() -> None:
    steadiness = Steadiness(needed_seconds=10, largest_gap_seconds=3)
    for second in (*range(12), *range(20, 25)):
        steadiness.tick(second)
    assert not steadiness.is_steady(24)
    assert not steadiness.is_steady(40)
