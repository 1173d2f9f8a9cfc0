"""The checks of external-api.md §1, over HTTP, with tokens of our own issuer and of a foreign one."""

import json
import time
from typing import Any

import pytest
from doors import HTTP, REQUEST_ID, Call, require_problem, send
from driving import Client
from issuers import SCOPES, ForeignIssuer, Key, assembled, signed_with_the_public_key
from urllib3 import BaseHTTPResponse

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
INPUT = {"INPUT_FILE": "input.csv"}
VERIFY = Call(service="gateway", method="POST", target="/api/v1/token/verify")
LIST = Call(service="outputs", method="GET", target="/api/v1/output-sets?partner=ea")


@pytest.fixture
def steady(foreign: Any) -> ForeignIssuer:
    issuer: ForeignIssuer = foreign.steady
    return issuer


def verify(gateway: str, token: str) -> BaseHTTPResponse:
    return send(gateway, VERIFY, {"Authorization": f"Bearer {token}"})


def require_invalid(answer: BaseHTTPResponse) -> None:
    problem = require_problem(answer, 401)
    assert (problem["type"], problem["detail"]) == ("/problems/invalid-token", "Invalid token")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def require_forbidden(answer: BaseHTTPResponse, detail: str) -> None:
    assert require_problem(answer, 403)["detail"] == detail
    assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Basic ZWE6ZWE=", "Token abc", "abc"]
)
def test_without_a_bearer_token_it_is_no_token(gateway: str, authorization: str | None) -> None:
    identity = {} if authorization is None else {"Authorization": authorization}
    answer = send(gateway, LIST, identity)
    assert require_problem(answer, 401)["detail"] == "No token"
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="taxiway"'


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_may_be_written_in_any_case(gateway: str, steady: ForeignIssuer, scheme: str) -> None:
    assert send(gateway, LIST, {"Authorization": f"{scheme} {steady.token()}"}).status == 200


def test_tokens_of_both_issuers_open_the_external_api(
    gateway: str, steady: ForeignIssuer, ea: Client
) -> None:
    for token in (steady.token(), ea.token):
        assert send(gateway, LIST, {"Authorization": f"Bearer {token}"}).status == 200


def test_a_verified_token_is_described_with_its_issuer(gateway: str, steady: ForeignIssuer) -> None:
    scope = f"{SCOPES} partner:a:b partner:Acme"
    answer = verify(gateway, steady.token(scope=scope)).json()
    assert answer["issuer"] == steady.url
    assert answer["clientId"] == "foreign-client"
    assert answer["partners"] == ["Acme", "a:b", "ea"]
    assert answer["message"] == "Token is valid for partners: Acme, a:b, ea"


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_asymmetric_algorithms_are_accepted(gateway: str, steady: ForeignIssuer, alg: str) -> None:
    key = next(key for key in steady.keys if key.alg == alg)
    assert verify(gateway, steady.token(key)).status == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "somebody-else"},
        {"aud": None},
        {"aud": []},
        {"aud": ["somebody-else", "runway-local-too"]},
        {"aud": {"runway-local": True}},
        {"iss": "http://127.0.0.1:9/nobody"},
        {"iss": None},
        {"iss": ["http://127.0.0.1:9/nobody"]},
        {"exp": None},
        {"exp": "2099-01-01"},
        {"exp": 1},
        {"exp": True},
        {"nbf": 4_000_000_000},
        {"nbf": "soon"},
    ],
    ids=str,
)
def test_a_token_with_a_faulty_claim_is_invalid(
    gateway: str, steady: ForeignIssuer, claims: dict[str, Any]
) -> None:
    require_invalid(verify(gateway, steady.token(**claims)))


def test_the_audience_may_be_one_of_several(gateway: str, steady: ForeignIssuer) -> None:
    assert verify(gateway, steady.token(aud=["somebody-else", "runway-local"])).status == 200


def test_a_token_ends_at_its_second_without_leeway(gateway: str, steady: ForeignIssuer) -> None:
    now = int(time.time())
    ends = steady.token(exp=now + 2)
    require_invalid(verify(gateway, steady.token(exp=now)))
    assert verify(gateway, ends).status == 200
    time.sleep(max(0.0, now + 2 - time.time()))
    require_invalid(verify(gateway, ends))


def test_a_token_is_good_from_its_nbf_on(gateway: str, steady: ForeignIssuer) -> None:
    assert verify(gateway, steady.token(nbf=int(time.time()))).status == 200
    require_invalid(verify(gateway, steady.token(nbf=int(time.time()) + 60)))


def test_alg_none_is_invalid(gateway: str, steady: ForeignIssuer) -> None:
    for alg in ("none", "None", "NONE"):
        header = {"alg": alg, "kid": steady.keys[0].kid}
        require_invalid(verify(gateway, assembled(header, steady.claims(), lambda _: b"")))


def test_hs256_with_the_public_key_as_its_secret_is_invalid(gateway: str, steady: ForeignIssuer) -> None:
    require_invalid(verify(gateway, signed_with_the_public_key(steady.keys[0], steady.claims())))


@pytest.mark.parametrize("alg", ["HS512", "ES256K", "RS1", "RSA1_5", "", None, 5, ["RS256"]])
def test_an_algorithm_outside_the_list_is_invalid(gateway: str, steady: ForeignIssuer, alg: Any) -> None:
    require_invalid(verify(gateway, steady.token(header={"alg": alg})))


def test_a_signature_by_another_key_under_the_same_kid_is_invalid(
    gateway: str, steady: ForeignIssuer
) -> None:
    require_invalid(verify(gateway, steady.token(Key("RS256", steady.keys[0].kid))))


def test_a_key_sent_along_in_the_header_is_not_believed(gateway: str, steady: ForeignIssuer) -> None:
    key = Key("ES256", "brought-along")
    require_invalid(verify(gateway, steady.token(key, header={"jwk": key.jwk(), "jku": steady.url})))


def test_changed_claims_are_invalid(gateway: str, steady: ForeignIssuer) -> None:
    head, _, signature = steady.token().split(".")
    _, claims, _ = steady.token(scope=f"{SCOPES} partner:acme").split(".")
    require_invalid(verify(gateway, f"{head}.{claims}.{signature}"))


def test_one_issuer_cannot_speak_for_the_other(gateway: str, steady: ForeignIssuer, foreign: Any) -> None:
    require_invalid(verify(gateway, steady.token(iss=foreign.rotating.url)))


@pytest.mark.parametrize("token", ["abc", "a.b.c", "..", "eyJhbGciOiJub25lIn0..", "é.é.é", "x" * 9000])
def test_garbage_is_invalid(gateway: str, token: str) -> None:
    answer = HTTP.request(
        "POST",
        gateway + VERIFY.target,
        headers={"Authorization": f"Bearer {token}".encode("latin-1"), "X-Request-Id": REQUEST_ID},  # type: ignore[dict-item]
    )
    require_invalid(answer)


@pytest.mark.parametrize("scope", [None, ["create:jobs"], 5, {"create:jobs": True}, True])
def test_without_a_scope_text_the_external_api_is_forbidden(
    gateway: str, steady: ForeignIssuer, scope: Any
) -> None:
    require_forbidden(verify(gateway, steady.token(scope=scope)), "Token missing scope claim")


@pytest.mark.parametrize(
    "scope", ["", "partner:ea", "read", "READ:JOBS", "read:jobs:", "create:jobs,read:jobs"]
)
def test_scopes_are_exact_words(gateway: str, steady: ForeignIssuer, scope: str) -> None:
    require_forbidden(verify(gateway, steady.token(scope=scope)), "Insufficient scopes")


def test_a_scope_includes_no_other(gateway: str, steady: ForeignIssuer) -> None:
    for scope in ("create:jobs partner:ea", "read:jobs:output-files partner:ea"):
        token = steady.token(scope=scope)
        require_forbidden(send(gateway, LIST, {"Authorization": f"Bearer {token}"}), "Insufficient scopes")


def test_a_refused_token_is_refused_before_the_body_is_looked_at(gateway: str, steady: ForeignIssuer) -> None:
    create = Call(service="jobs", method="POST", target="/api/v1/jobs", content=b"{")
    bearer = {"Authorization": f"Bearer {steady.token(scope='partner:ea')}"}
    require_forbidden(send(gateway, create, bearer), "Insufficient scopes")


def test_a_job_needs_a_client_and_azp_will_do(gateway: str, steady: ForeignIssuer) -> None:
    job = {"partner": "ea", "tenant": "ea", "bundle": "tests/echo", "schoolYear": "2026", "files": INPUT}
    content = json.dumps(job).encode()
    create = Call(service="jobs", method="POST", target="/api/v1/jobs?dryRun=true", content=content)
    nobody = {"Authorization": f"Bearer {steady.token(client_id=None)}"}
    by_azp = {"Authorization": f"Bearer {steady.token(client_id='', azp='foreign')}"}
    refused = require_problem(send(gateway, create, nobody), 403)
    assert refused["detail"] == "Token must include a client_id or azp claim"
    assert send(gateway, create, by_azp).status == 200
