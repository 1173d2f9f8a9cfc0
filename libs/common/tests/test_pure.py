"""Ids, pages, sealing and the clock: pure modules."""

import time
import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import clock, ids, pages
from common.problems import Problem
from common.sealing import CannotUnseal, Sealer


def test_ordered_ids_are_version_7_and_sort_by_time() -> None:
    before = time.time_ns() // 1_000_000
    first = ids.new_ordered_id()
    time.sleep(0.002)
    second = ids.new_ordered_id()
    assert first < second
    assert (first.version, first.variant) == (7, uuid.RFC_4122)
    assert before <= first.int >> 80 <= before + 1000


def test_ids_are_not_made_twice() -> None:
    made = [ids.new_ordered_id() for _ in range(1000)] + [ids.new_uid() for _ in range(1000)]
    assert len(set(made)) == 2000


def test_only_the_canonical_form_of_a_uuid_is_read() -> None:
    one = uuid.uuid4()
    assert ids.parse_uuid(str(one)) == ids.parse_uuid(str(one).upper()) == one
    for other in (one.hex, f"{{{one}}}", f"urn:uuid:{one}", f" {one}", f"{one}\n", "", "x", "0" * 10_000):
        assert ids.parse_uuid(other) is None


def test_a_harmless_request_id_is_kept_and_another_replaced() -> None:
    assert ids.request_id("abc-1._Z") == "abc-1._Z"
    for other in (None, "", "a b", "a\n", "é", "x" * 129, '"'):
        assert ids.request_id(other) != other


def test_a_cursor_comes_back_as_it_was() -> None:
    for position in ([1], [1.5, "é", None], ["a", "b", 2**60]):
        cursor = pages.encode(position)
        assert pages.decode(cursor, len(position)) == position
        assert cursor.replace("-", "").replace("_", "").isalnum()


@given(cursor=st.text(max_size=40))
def test_a_cursor_that_is_not_ours_is_400(cursor: str) -> None:
    with pytest.raises(Problem) as refused:
        pages.decode(cursor, 17)
    assert refused.value.status == 400


def test_a_cursor_nested_without_end_is_400() -> None:
    with pytest.raises(Problem, match="400"):
        pages.decode("W1tb" * 2000, 1)


def test_a_cursor_of_another_length_is_400() -> None:
    with pytest.raises(Problem, match="400"):
        pages.decode(pages.encode([1, 2]), 1)


@pytest.mark.parametrize("text", ["0", "1001", "-1", "", "x", "1.0", "1e2", "²", " 1", "1\n", "9" * 5000])
def test_a_limit_out_of_bounds_is_400(text: str) -> None:
    with pytest.raises(Problem, match="limit must be a whole number from 1 to 1000"):
        pages.limit(text)


def test_a_limit_within_bounds_is_read() -> None:
    assert [pages.limit(text) for text in (None, "1", "1000", "010")] == [100, 1, 1000, 10]
    assert pages.limit(None, 7) == 7


def test_a_sealed_secret_opens_in_its_place_only() -> None:
    sealer = Sealer({"a": b"1" * 32})
    sealed = sealer.seal("s3cret é", "ods:1")
    assert sealer.unseal(sealed, "ods:1") == "s3cret é"
    assert "s3cret" not in sealed
    assert sealer.seal("s3cret é", "ods:1") != sealed
    with pytest.raises(CannotUnseal):
        sealer.unseal(sealed, "ods:2")


def test_an_old_key_opens_until_it_is_gone() -> None:
    sealed = Sealer({"old": b"1" * 32}).seal("secret", "x")
    assert Sealer({"new": b"2" * 32, "old": b"1" * 32}).unseal(sealed, "x") == "secret"
    with pytest.raises(CannotUnseal):
        Sealer({"new": b"2" * 32}).unseal(sealed, "x")
    with pytest.raises(CannotUnseal):
        Sealer({"old": b"2" * 32}).unseal(sealed, "x")


@pytest.mark.parametrize("value", ["", "a", "a.b", "a.b.c", "a..", "a.é.é", "a.AAAA.AAAA", "a.b.c.d"])
def test_a_mangled_secret_does_not_open(value: str) -> None:
    with pytest.raises(CannotUnseal):
        Sealer({"a": b"1" * 32}).unseal(value, "x")


def test_an_altered_secret_does_not_open() -> None:
    sealer = Sealer({"a": b"1" * 32})
    kid, nonce, sealed = sealer.seal("secret", "x").split(".")
    flipped = ("A" if sealed[0] != "A" else "B") + sealed[1:]
    with pytest.raises(CannotUnseal):
        sealer.unseal(f"{kid}.{nonce}.{flipped}", "x")


def test_an_instant_is_written_in_utc_with_milliseconds() -> None:
    east = timezone(timedelta(hours=2))
    instant = datetime(2026, 1, 1, 1, 2, 3, 456_789, tzinfo=east)
    assert clock.rfc3339(instant) == "2025-12-31T23:02:03.456Z"
    assert clock.rfc3339(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000Z"


def test_a_fixed_clock_moves_when_told() -> None:
    fixed = clock.FixedClock()
    before = fixed.now(), fixed.monotonic()
    assert (fixed.now(), fixed.monotonic()) == before
    fixed.advance(1.5)
    assert fixed.now() - before[0] == timedelta(seconds=1.5)
    assert fixed.monotonic() - before[1] == 1.5
