"""The signed identity: what was signed is believed, anything else is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.principal import (
    SIGNATURE,
    Principal,
    SignatureError,
    from_headers,
    service,
    signed_headers,
    to_headers,
    verify,
)

KEYS = {"k1": b"1" * 32}
NOW = 1_800_000_000
TARGET = "/api/v1/jobs?partner=a&x=%2F"
CLIENT = Principal(
    kind="client",
    subject="sub|1",
    client_id="c-1",
    client_name="Ünï, códe; =",
    issuer="https://issuer/realms/x",
    scopes=frozenset({"read:jobs", "create:jobs"}),
    partners=frozenset({"acme", "a b", "ü"}),
    roles=frozenset({"Editor"}),
    expires_at=NOW + 60,
)
RUN = Principal(kind="run", subject="r", run="r", lease=7, attempt=2, job="j", scopes=frozenset({"run:work"}))


def signed(caller: Principal = CLIENT, method: str = "GET", target: str = TARGET) -> dict[str, str]:
    return signed_headers(caller, method, target, KEYS, NOW)


def check(headers: dict[str, str], method: str = "GET", target: str = TARGET, now: int = NOW) -> Principal:
    return verify(headers.items(), method, target, KEYS, now)


@pytest.mark.parametrize("caller", [CLIENT, RUN, service("jobs")])
def test_a_signed_principal_comes_back_as_it_was(caller: Principal) -> None:
    headers = {**signed(caller), "host": "jobs", "x-request-id": "1"}
    assert check({name.title(): value for name, value in headers.items()}) == caller


words = st.frozensets(st.text(min_size=1, max_size=8), max_size=3)


@given(subject=st.text(max_size=20), client_name=st.text(max_size=20), partners=words, scopes=words)
def test_any_text_survives_its_headers(
    subject: str, client_name: str, partners: frozenset[str], scopes: frozenset[str]
) -> None:
    caller = Principal(
        kind="client", subject=subject, client_name=client_name, partners=partners, scopes=scopes
    )
    headers = to_headers(caller)
    assert from_headers(headers) == caller
    assert all(value.isascii() and value.isprintable() for value in headers.values())


def test_a_forged_value_is_refused() -> None:
    for name in to_headers(CLIENT):
        with pytest.raises(SignatureError):
            check({**signed(), name: "forged"})


def test_an_added_header_is_refused() -> None:
    for name in ("x-auth-run", "X-Auth-Lease", "x-auth-anything"):
        with pytest.raises(SignatureError):
            check({**signed(), name: "1"})


def test_a_stripped_header_is_refused() -> None:
    for name in to_headers(CLIENT):
        headers = signed()
        del headers[name]
        with pytest.raises(SignatureError):
            check(headers)


def test_headers_without_a_signature_are_refused() -> None:
    with pytest.raises(SignatureError, match="missing"):
        check(to_headers(CLIENT))


def test_a_repeated_header_is_refused() -> None:
    for name in ("x-auth-subject", "X-Auth-Subject", SIGNATURE):
        headers = [*signed().items(), (name, signed()[name.lower()])]
        with pytest.raises(SignatureError, match="repeated"):
            verify(headers, "GET", TARGET, KEYS, NOW)


def test_a_call_replayed_to_another_target_or_method_is_refused() -> None:
    for method, target in (("POST", TARGET), ("GET", "/api/v1/jobs"), ("GET", TARGET + "&y=1"), ("GET", "/")):
        with pytest.raises(SignatureError):
            check(signed(), method, target)


def test_a_call_replayed_to_another_receiver_is_refused() -> None:
    for keys in ({"k1": b"2" * 32}, {"k2": b"1" * 32}, {}):
        with pytest.raises(SignatureError):
            verify(signed().items(), "GET", TARGET, keys, NOW)


@pytest.mark.parametrize("seconds", [-31, 31, 3600])
def test_a_stale_or_early_signature_is_refused(seconds: int) -> None:
    with pytest.raises(SignatureError, match="stale"):
        check(signed(), now=NOW + seconds)


@pytest.mark.parametrize("seconds", [-30, 0, 30])
def test_a_fresh_signature_is_believed(seconds: int) -> None:
    assert check(signed(), now=NOW + seconds) == CLIENT


def test_a_refreshed_stamp_is_refused() -> None:
    headers = signed()
    headers[SIGNATURE] = headers[SIGNATURE].replace(f"t={NOW}", f"t={NOW + 40}")
    with pytest.raises(SignatureError, match="match"):
        check(headers, now=NOW + 40)


@pytest.mark.parametrize(
    "value", ["", "s=", "t=x,k=k1,s=00", f"t={NOW},k=k1", f"t={NOW},k=k1,s=é", f"t={NOW},k=k1,s=", ",,,", "="]
)
def test_a_mangled_signature_is_refused(value: str) -> None:
    with pytest.raises(SignatureError):
        check({**signed(), SIGNATURE: value})


def test_a_receiver_accepts_two_keys_at_a_time() -> None:
    ring = {"new": b"9" * 32, **KEYS}
    assert verify(signed().items(), "GET", TARGET, ring, NOW) == CLIENT
    assert "k=new," in signed_headers(CLIENT, "GET", TARGET, ring, NOW)[SIGNATURE]


def test_an_unknown_kind_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        Principal(kind="god", subject="x")
