"""Signing keys: sealed, agreed on, published before they sign."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from common import database
from common.clock import FixedClock
from common.sealing import CannotUnseal, Sealer
from issuer import keys as issuer_keys
from issuer.keys import READ_AGAIN_SECONDS, KeyRing

TOKEN = "/realms/example/protocol/openid-connect/token"
GOOD = {"grant_type": "client_credentials", "client_id": "runway-api", "client_secret": "api-secret-123"}
SEALING = {"s1": b"s" * 32}


def test_only_public_halves_are_published(client: Any) -> None:
    (key,) = client.get("/realms/example/protocol/openid-connect/certs").json["keys"]
    assert set(key) == {"kty", "n", "e", "kid", "use", "alg"}


def test_private_keys_are_sealed_at_rest(client: Any, engine: Any) -> None:
    client.post(TOKEN, data=GOOD)
    with database.transaction(engine) as connection:
        sealed = connection.execute(text("SELECT private_key FROM gateway.issuer_key")).scalar_one()
    assert sealed.startswith("s1.")
    assert "PRIVATE" not in sealed


def test_processes_that_start_at_once_agree_on_one_key(
    app: Any, database_url: str, clock: FixedClock
) -> None:
    engines = [database.connect(database_url, f"p{number}") for number in range(4)]
    rings = [KeyRing(engine, Sealer(SEALING), clock) for engine in engines]
    with ThreadPoolExecutor(4) as threads:
        kids = {kid for kid, _ in threads.map(lambda ring: ring.signing(), rings)}
    assert len(kids) == 1
    for engine in engines:
        engine.dispose()


def test_a_new_key_is_published_before_it_signs_and_the_old_one_stays_for_its_tokens(
    client: Any, app: Any, engine: Any, clock: FixedClock
) -> None:
    first = _kid(client)
    new = issuer_keys.rotate(
        engine,
        Sealer(SEALING),
        clock.now(),
        published_for=timedelta(seconds=600),
        lifetime=timedelta(seconds=3600),
    )
    clock.advance(READ_AGAIN_SECONDS + 1)
    assert _published(client) == {first, new}
    assert _kid(client) == first
    clock.advance(600)
    assert _kid(client) == new
    assert _published(client) == {first, new}
    clock.advance(3600 + 2 * READ_AGAIN_SECONDS)
    assert _published(client) == {new}


def test_rotating_an_empty_ring_makes_a_key_that_signs_at_once(
    client: Any, engine: Any, clock: FixedClock
) -> None:
    new = issuer_keys.rotate(
        engine,
        Sealer(SEALING),
        clock.now(),
        published_for=timedelta(seconds=600),
        lifetime=timedelta(seconds=60),
    )
    assert _kid(client) == new


def _kid(client: Any) -> str:
    token = client.post(TOKEN, data=GOOD).json["access_token"]
    return str(json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))["kid"])


def _published(client: Any) -> set[str]:
    return {key["kid"] for key in client.get("/realms/example/protocol/openid-connect/certs").json["keys"]}


def test_resealed_keys_open_without_the_old_sealing_key(client: Any, engine: Any, clock: FixedClock) -> None:
    kid = _kid(client)
    both = Sealer({"s2": b"t" * 32, **SEALING})
    assert (issuer_keys.reseal(engine, both), issuer_keys.reseal(engine, both)) == (1, 0)
    signing, _ = KeyRing(engine, Sealer({"s2": b"t" * 32}), clock).signing()
    assert signing == kid
    with pytest.raises(CannotUnseal):
        issuer_keys.reseal(engine, Sealer({"s3": b"u" * 32}))
