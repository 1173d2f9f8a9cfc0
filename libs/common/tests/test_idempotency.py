"""`once()`: the same request finds what it made; anything else with its key is refused."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask, g
from sqlalchemy import Connection, Engine, text

from common.database import transaction
from common.idempotency import Made, forget_old, has_key, once, statement_once
from common.principal import Principal
from common.problems import Problem

_FIRST = text("""INSERT INTO idempotency_key VALUES (:namespace, sha256('{}'), '{"number": "first"}')""")


class Sender:
    """Sends requests that make something once, and counts what was really made."""

    def __init__(self, engine: Engine) -> None:
        self.made = 0
        self._engine = engine
        self._app = Flask("idempotency")

    def send(self, key: str, body: bytes = b"{}", path: str = "/things", **caller: Any) -> Made:
        with self.request(key, body, path, **caller) as connection:
            return once(connection, self.make)

    @contextmanager
    def request(
        self, key: str, body: bytes = b"{}", path: str = "/things", **caller: Any
    ) -> Iterator[Connection]:
        """Hold the transaction of a request open."""
        headers = {"Idempotency-Key": key} if key else {}
        with self._app.test_request_context(path, method="POST", data=body, headers=headers):
            g.principal = Principal(**{"kind": "client", "subject": "s", **caller})
            with transaction(self._engine) as connection:
                yield connection

    def make(self) -> dict[str, int]:
        self.made += 1
        return {"number": self.made}


@pytest.fixture
def sender(engine: Engine) -> Sender:
    return Sender(engine)


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


def test_the_same_request_finds_what_it_made(sender: Sender, key: str) -> None:
    first, second = sender.send(key), sender.send(key)
    assert (first.reference, first.repeated) == ({"number": 1}, False)
    assert (second.reference, second.repeated) == ({"number": 1}, True)
    assert sender.made == 1


def test_a_quoted_key_is_the_bare_one(sender: Sender, key: str) -> None:
    sender.send(key)
    assert sender.send(f'"{key}"').repeated


def test_without_a_key_everything_is_made_anew(sender: Sender) -> None:
    for empty in ("", " ", '""'):
        assert not sender.send(empty).repeated
    assert sender.made == 3


def test_another_body_with_the_key_is_422(sender: Sender, key: str) -> None:
    sender.send(key, b"one")
    with pytest.raises(Problem) as refused:
        sender.send(key, b"two")
    assert (refused.value.status, refused.value.type) == (422, "idempotency-key-reused")
    assert sender.made == 1


def test_a_request_still_in_progress_is_409(sender: Sender, key: str) -> None:
    with sender.request(key) as connection:
        once(connection, sender.make)
        with pytest.raises(Problem) as refused:
            sender.send(key)
    assert (refused.value.status, refused.value.type) == (409, "idempotency-key-in-progress")
    assert sender.send(key).repeated


def test_a_key_that_was_kept_while_the_effect_was_made_is_409_and_the_effect_is_lost(
    sender: Sender, key: str, engine: Engine
) -> None:
    def namespace_of() -> bytes:
        with sender.request(key) as connection:
            once(connection, sender.make)
            newest = text("SELECT namespace FROM idempotency_key ORDER BY created_at DESC LIMIT 1")
            namespace = bytes(connection.execute(newest).scalar_one())
            connection.execute(text("DELETE FROM idempotency_key WHERE namespace = :n"), {"n": namespace})
            return namespace

    namespace = namespace_of()

    def make() -> dict[str, int]:
        with transaction(engine) as other:  # as if the look had been before that request's commit
            other.execute(_FIRST, {"namespace": namespace})
        return sender.make()

    with pytest.raises(Problem) as refused, sender.request(key) as connection:
        once(connection, make)
    assert (refused.value.status, refused.value.type) == (409, "idempotency-key-in-progress")
    assert sender.send(key).reference == {"number": "first"}


def test_only_what_keeps_a_key_needs_a_transaction(sender: Sender, key: str, engine: Engine) -> None:
    for header, is_kept in (("", True), (key, False)):
        with sender.request(header), statement_once(engine) as connection:
            made = connection.execute(text("INSERT INTO idempotency_key VALUES ('x', 'x', '1') RETURNING 1"))
            assert made.scalar_one() == 1
            with transaction(engine) as other:
                kept = other.execute(text("DELETE FROM idempotency_key WHERE namespace = 'x'")).rowcount
        assert bool(kept) is is_kept


def test_keys_of_other_callers_and_routes_are_other_keys(sender: Sender, key: str) -> None:
    sender.send(key)
    assert not sender.send(key, path="/others").repeated
    assert not sender.send(key, subject="t").repeated
    assert not sender.send(key, issuer="i").repeated
    assert not sender.send(key, kind="api-key").repeated


def test_a_failed_request_leaves_no_key(sender: Sender, key: str) -> None:
    def fail() -> None:
        with sender.request(key) as connection:
            once(connection, sender.make)
            raise KeyError("the effect failed")

    with pytest.raises(KeyError):
        fail()
    assert not sender.send(key).repeated


def test_a_key_is_kept_for_a_day(sender: Sender, key: str, engine: Engine) -> None:
    sender.send(key, b"one")
    with transaction(engine) as connection:
        connection.execute(text("UPDATE idempotency_key SET created_at = now() - interval '25 hours'"))
    assert not sender.send(key, b"two").repeated
    assert sender.send(key, b"two").repeated


def test_old_keys_are_forgotten(sender: Sender, key: str, engine: Engine) -> None:
    sender.send(key)
    with transaction(engine) as connection:
        connection.execute(text("UPDATE idempotency_key SET created_at = now() - interval '25 hours'"))
    sender.send(uuid.uuid4().hex)
    with transaction(engine) as connection:
        forget_old(connection)
        assert connection.execute(text("SELECT count(*) FROM idempotency_key")).scalar_one() == 1


def test_an_overlong_key_is_400(sender: Sender) -> None:
    with pytest.raises(Problem) as refused:
        sender.send("x" * 256)
    assert refused.value.status == 400


def test_a_request_has_a_key_when_its_repeats_can_be_found(sender: Sender) -> None:
    for header, expected in (("k", True), ('"k"', True), ("", False), ('""', False), ("  ", False)):
        with sender.request(header):
            assert has_key() is expected
