"""Forged tokens, and good ones where they do not belong (RFC 8725, RFC 7515 §10)."""

import hashlib
import hmac
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import pytest
import urllib3
from attacking import VERIFY, Lane, require_invalid_token
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from doors import Call, Worked, require_problem, send
from driving import Client
from issuers import SCOPES, ForeignIssuer, Key, assembled, decoded

from stack.testing import LocalStack

THEIRS = Key("ES256", "brought-along")
KIDS = (
    "../../../../../../dev/null",
    "/dev/null",
    "/proc/self/environ",
    "key-RS256' OR '1'='1",
    "*",
    "%00",
    *(
        "' UNION SELECT 'AAAA' --",
        "key-RS256\0",
        "../key-RS256",
        "http://127.0.0.1/keys",
        "$(id)",
        "x" * 4000,
    ),
)
SECRETS: Mapping[str, bytes] = {"nothing": b"", "a null": b"\0", "a word": b"secret"}
CLIENT = (
    "/api/v1/jobs?partner=ea",
    "/api/v1/output-sets?partner=ea",
    "/api/v1/partners/ea",
    "/v1/runs?partner=ea",
)


@pytest.fixture(scope="module")
def believed(system: LocalStack) -> tuple[str, str, bytes]:
    """Our own issuer's name, the name of its key, and that key as anybody may write it down."""
    keys = urllib3.request("GET", f"{system.gateway_url}/realms/example/protocol/openid-connect/certs")
    key = keys.json()["keys"][0]
    number = {name: int.from_bytes(decoded(key[name])) for name in ("n", "e")}
    public = rsa.RSAPublicNumbers(**number).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return f"{system.issuer_url}/realms/example", key["kid"], pem


@pytest.fixture(scope="module")
def worked(ea: Client) -> Iterator[Worked]:
    run = Worked(ea)
    yield run
    run.end()


def hs256(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda text: hmac.digest(secret, text, hashlib.sha256)


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", "HS256", "RS256"])
@pytest.mark.parametrize("end", [b"", b"\0"])
def test_a_token_of_our_own_issuer_without_a_signature(
    lane: Lane, idp: ForeignIssuer, believed: tuple[str, str, bytes], alg: str, end: bytes
) -> None:
    issuer, kid, _ = believed
    claims = idp.claims(iss=issuer, roles=["Administrator"])
    require_invalid_token(lane.verify(assembled({"alg": alg, "kid": kid}, claims, lambda _: end)))


def test_a_token_of_our_own_issuer_signed_with_its_public_key_as_a_secret(
    lane: Lane, idp: ForeignIssuer, believed: tuple[str, str, bytes]
) -> None:
    issuer, kid, pem = believed
    claims = idp.claims(iss=issuer, roles=["Administrator"])
    for secret in (pem, pem.strip(), pem.replace(b"\n", b"")):
        for alg in ("HS256", "RS256"):
            require_invalid_token(lane.verify(assembled({"alg": alg, "kid": kid}, claims, hs256(secret))))


@pytest.mark.parametrize("member", ["jwk", "jku", "x5u", "x5c"])
@pytest.mark.parametrize("alg", ["ES256", "RS256"])
def test_a_key_brought_along_or_pointed_to_is_neither_used_nor_fetched(
    lane: Lane, idp: ForeignIssuer, member: str, alg: str
) -> None:
    key = Key(alg, f"key-{alg}")  # under the name of a key that is believed
    attacker = ForeignIssuer(key).start()
    try:
        keys = f"{attacker.url}/keys"
        value = {"jwk": key.jwk(), "jku": keys, "x5u": keys, "x5c": [key.public_pem().decode()]}[member]
        for kid in (key.kid, keys, None):
            require_invalid_token(lane.verify(idp.token(key, header={member: value, "kid": kid})))
        assert attacker.fetches == 0
    finally:
        attacker.stop()


@pytest.mark.parametrize("kid", KIDS)
def test_the_name_of_a_key_is_never_a_path_a_query_or_a_url(lane: Lane, idp: ForeignIssuer, kid: str) -> None:
    for secret in SECRETS.values():
        header = {"alg": "HS256", "kid": kid, "typ": "at+jwt"}
        require_invalid_token(lane.verify(assembled(header, idp.claims(), hs256(secret))))
    require_invalid_token(lane.verify(idp.token(THEIRS, header={"kid": kid})))


@pytest.mark.parametrize("kid", [5, None, ["key-RS256"], {"kid": "key-RS256"}, True])
def test_the_name_of_a_key_is_a_text(lane: Lane, idp: ForeignIssuer, kid: Any) -> None:
    require_invalid_token(lane.verify(idp.token(header={"kid": kid})))


def test_a_token_for_another_audience_or_of_another_issuer(
    lane: Lane, idp: ForeignIssuer, believed: tuple[str, str, bytes]
) -> None:
    assert lane.verify(idp.token()).status == 200
    other: Any = ({"iss": believed[0]}, {"iss": f"{idp.url}/"}, {"iss": "taxiway-runs"}, {"iss": "taxiway"})
    audiences: Any = (
        {"aud": "executor-api"},
        {"aud": "runway-local "},
        {"aud": "RUNWAY-LOCAL"},
        {"aud": "*"},
    )
    for claims in (*other, *audiences):
        require_invalid_token(lane.verify(idp.token(**claims)))


def test_a_believed_issuer_cannot_sign_for_a_run(lane: Lane, idp: ForeignIssuer, worked: Worked) -> None:
    claims: dict[str, Any] = {"iss": "taxiway-runs", "aud": "executor-api", "sub": worked.run}
    claims |= {"scope": "run:work", "partner": "ea", "lease": 1, "attempt": 1, "job": worked.job}
    forged = idp.token(**claims)
    require_invalid_token(lane.ask(forged, f"/sdk/v1/runs/{worked.run}/payload"))


def test_a_believed_foreign_issuer_cannot_make_an_administrator(lane: Lane, idp: ForeignIssuer) -> None:
    token = idp.token(roles=["Administrator"], scope=f"{SCOPES} Administrator role:Administrator")
    for target in ("/api/v1/apps", "/api/v1/admin/partners", "/v1/k8s/apps", "/api/v1/admin/audit"):
        assert require_problem(lane.ask(token, target), 403)["type"] == "/problems/missing-role"


def test_a_token_of_more_than_8_kib(lane: Lane, idp: ForeignIssuer) -> None:
    fits, too_large = idp.token(filler="f" * 5000), idp.token(filler="f" * 6000)
    assert len(fits) < 8 * 1024 < len(too_large)
    assert lane.verify(fits).status == 200
    require_invalid_token(lane.verify(too_large))


def test_a_token_that_expired_a_second_ago(lane: Lane, idp: ForeignIssuer) -> None:
    require_invalid_token(lane.verify(idp.token(exp=int(time.time()) - 1)))


def test_a_token_that_the_gateway_knows_expires_all_the_same(lane: Lane, idp: ForeignIssuer) -> None:
    ends_at = int(time.time()) + 2
    token = idp.token(exp=ends_at)
    assert lane.verify(token).status == 200
    while (answer := lane.verify(token)).status == 200:
        assert time.time() < ends_at + 0.5
        time.sleep(0.05)
    require_invalid_token(answer)


@pytest.mark.parametrize(
    "scope",
    [
        *("partner:e", "partner:EA", "partner:Ea", "partner:eaa", "partner:*", "partner:", "partner:e*"),
        *("PARTNER:ea", "Partner:ea", "partner:ea,acme", "partner:%65a", "partner:ea:acme", "partner:.*"),
        *("partner:ea/", "partner:\u0435\u0430", "partner=ea", "partners:ea", "partner:acme\tpartner:ea"),
    ],
)
def test_a_partner_scope_holds_for_exactly_its_code(lane: Lane, idp: ForeignIssuer, scope: str) -> None:
    token = idp.token(scope=f"create:jobs read:jobs read:jobs:output-files {scope}")
    for target in CLIENT:
        answer = lane.ask(token, target)
        assert answer.status in (400, 404), (target, answer.data)


@pytest.mark.parametrize(
    "asked",
    [
        *("acme", "EA", "Ea", "e", "ea%20", "%20ea", "ea%00", "ea%2Cacme", "*", "%25", "ea&partner=acme"),
        *("acme&partner=ea", "ea%0A", "acme;partner=ea", "%D0%B5%D0%B0", "", "ea'--"),
    ],
)
def test_a_partner_is_asked_for_by_exactly_its_code(lane: Lane, ea: Client, asked: str) -> None:
    for target in CLIENT[0], CLIENT[1], CLIENT[3]:
        answer = lane.ask(ea.token, target.replace("partner=ea", f"partner={asked}"))
        assert answer.status in (400, 404), (target, answer.data)


def test_a_run_token_opens_nothing_but_its_own_run(lane: Lane, worked: Worked, ea: Client) -> None:
    own = f"/sdk/v1/runs/{worked.run}"
    assert lane.ask(worked.token, f"{own}/payload").status == 200
    other = Worked(ea)
    for target in (*CLIENT, f"/v1/runs/{worked.run}", "/v1/webhooks?partner=ea", "/api/v1/apps"):
        assert require_problem(lane.ask(worked.token, target), 403)["type"] == "/problems/wrong-kind-of-token"
    require_problem(send(lane.url, VERIFY, {"Authorization": f"Bearer {worked.token}"}), 403)
    problem = require_problem(lane.ask(worked.token, f"/sdk/v1/runs/{other.run}/payload"), 403)
    assert problem["detail"] == "token does not match run ID"
    other.end()


def test_a_client_token_opens_nothing_of_the_executor_api(lane: Lane, worked: Worked, ea: Client) -> None:
    for path in ("payload", "checkpoint", "state", "claim", "heartbeat", "complete", "output-sets"):
        method = "POST" if path in ("claim", "heartbeat", "complete", "output-sets") else "GET"
        target = f"/sdk/v1/runs/{quote(worked.run)}/{path}"
        problem = require_problem(lane.ask(ea.token, target, method), 403)
        assert problem["type"] == "/problems/wrong-kind-of-token"


def test_two_tokens_in_one_request_are_none(lane: Lane, ea: Client, acme: Client) -> None:
    head = f"POST {VERIFY.target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n"
    both = "".join(f"Authorization: Bearer {token}\r\n" for token in (ea.token, acme.token))
    assert lane.raw(f"{head}{both}\r\n".encode()).startswith((b"HTTP/1.1 401", b"HTTP/1.1 400"))


def test_a_token_anywhere_but_in_its_header_is_none(lane: Lane, ea: Client) -> None:
    for call in (
        Call(service="jobs", method="GET", target=f"{CLIENT[0]}&access_token={ea.token}"),
        Call(service="jobs", method="GET", target=CLIENT[0], headers={"Cookie": f"access_token={ea.token}"}),
        Call(
            service="jobs", method="GET", target=CLIENT[0], headers={"X-Authorization": f"Bearer {ea.token}"}
        ),
        Call(
            service="jobs",
            method="GET",
            target=CLIENT[0],
            headers={"Proxy-Authorization": f"Bearer {ea.token}"},
        ),
    ):
        assert require_problem(send(lane.url, call, {}), 401)["type"] == "/problems/no-token"
