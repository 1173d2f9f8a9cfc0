"""Who comes in, and as whom: the table of external-api.md §1, and kinds of tokens."""

from typing import Any

import pytest
from joserfc.jwk import OKPKey

from common import principal
from gateway.admission import Forward, Local, Refuse

INVALID = (401, "Invalid token")


def test_a_good_token_comes_in_as_its_client(door: Any, keys: Any, tools: Any) -> None:
    decision = door.admitted(tools.mint(keys.rsa, door.claims()))
    assert isinstance(decision, Forward)
    assert decision.principal == principal.Principal(
        kind="client",
        subject="runway-api",
        client_id="runway-api",
        client_name="Runway API",
        issuer=door.claims()["iss"],
        scopes=frozenset({"create:jobs", "read:jobs", "read:jobs:output-files", "partner:ea"}),
        partners=frozenset({"ea"}),
        expires_at=door.now + 600,
    )


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Basic dTpw", "Token abc", "bearerabc", "Bearer\tx"]
)
def test_without_a_bearer_token_it_is_no_token(door: Any, authorization: str | None) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    decision = door.knock(None, **headers)
    assert isinstance(decision, Refuse)
    assert (decision.problem.status, decision.problem.detail) == (401, "No token")
    # RFC 6750 §3.1: no error code when no token was given
    assert decision.problem.headers["WWW-Authenticate"] == 'Bearer realm="taxiway"'


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEaReR"])
def test_the_scheme_is_case_insensitive(door: Any, keys: Any, tools: Any, scheme: str) -> None:
    token = tools.mint(keys.rsa, door.claims())
    assert isinstance(door.knock(None, authorization=f"{scheme} {token}"), Forward)


@pytest.mark.parametrize("token", ["x", "a.b.c", "rl_abc_def", "..", "Bearer x"])
def test_without_an_issuer_the_external_api_is_disabled(door: Any, token: str) -> None:
    door.build(disabled=True)
    expected = INVALID if token.startswith("rl_") else (503, "External API is disabled.")
    assert door.refusal(token) == expected
    assert door.refusal(token, "GET", "/v1/runs") == INVALID
    assert door.refusal(None) == (401, "No token")


def test_without_an_issuer_everything_else_keeps_working(door: Any, keys: Any, tools: Any) -> None:
    door.build(disabled=True)
    run = tools.mint(keys.ed, door.run_claims())
    assert isinstance(door.admitted(run, "POST", "/sdk/v1/runs/run-1/heartbeat"), Forward)
    assert door.refusal(run) == (403, "This kind of token is not accepted here")
    assert isinstance(door.admitted(None, "GET", "/healthz"), Local)
    assert isinstance(door.admitted(None, "POST", "/oauth/token"), Forward)


@pytest.mark.parametrize("scope", [None, 5, ["read:jobs"], {}])
def test_without_a_scope_claim_the_external_api_is_forbidden(
    door: Any, keys: Any, tools: Any, scope: Any
) -> None:
    token = tools.mint(keys.rsa, door.claims(scope=scope))
    decision = door.knock(token)
    assert isinstance(decision, Refuse)
    assert (decision.problem.status, decision.problem.detail) == (403, "Token missing scope claim")
    assert 'error="insufficient_scope"' in decision.problem.headers["WWW-Authenticate"]
    assert isinstance(door.admitted(token, "GET", "/v1/runs"), Forward)


@pytest.mark.parametrize(
    ("scope", "partners"),
    [
        ("partner:ea partner:acme", {"ea", "acme"}),
        ("partner:EA", {"EA"}),
        ("partner:a:b", {"a:b"}),
        ("partner:", set()),
        ("partners:ea", set()),
        ("Partner:ea", set()),
        ("xpartner:ea", set()),
        ("partner:ea*", {"ea*"}),
        ("  ", set()),
        ("partner:e%20a", {"e%20a"}),
        ("partner:ä", {"ä"}),
        ("partner:a\u2028b\tc", {"a\u2028b\tc"}),
    ],
)
def test_partners_are_exact_and_case_sensitive(
    door: Any, keys: Any, tools: Any, scope: str, partners: set[str]
) -> None:
    decision = door.admitted(tools.mint(keys.rsa, door.claims(scope=scope)))
    seen = principal.verify(
        [header for header in decision.headers if header[0].startswith("x-auth-")],
        "GET",
        "/api/v1/jobs",
        {"j1": b"j" * 32},
        door.now,
    )
    assert seen.partners == partners
    assert seen == decision.principal


def test_the_client_is_client_id_or_else_azp(door: Any, keys: Any, tools: Any) -> None:
    for changes, client in (({"client_id": None}, "runway-api"), ({"client_id": "", "azp": "z"}, "z")):
        decision = door.admitted(tools.mint(keys.rsa, door.claims(**changes)))
        assert decision.principal.client_id == client
    decision = door.admitted(tools.mint(keys.rsa, door.claims(client_id=None, azp=None)))
    assert decision.principal.client_id == ""


def test_a_run_token_opens_the_executor_api(door: Any, keys: Any, tools: Any) -> None:
    decision = door.admitted(tools.mint(keys.ed, door.run_claims()), "POST", "/sdk/v1/runs/run-1/output-sets")
    assert decision.route.to == "outputs"
    assert decision.principal == principal.Principal(
        kind="run",
        subject="run-1",
        issuer="taxiway-runs",
        scopes=frozenset({"run:work"}),
        partners=frozenset({"ea"}),
        run="run-1",
        lease=7,
        attempt=1,
        job="job-1",
        expires_at=door.now + 600,
    )


def test_the_wrong_kind_of_token_is_forbidden(door: Any, keys: Any, tools: Any) -> None:
    wrong = (403, "This kind of token is not accepted here")
    run = tools.mint(keys.ed, door.run_claims())
    client = tools.mint(keys.rsa, door.claims())
    for target in ("/api/v1/jobs", "/api/v1/output-sets", "/v1/runs", "/api/v1/admin/partners"):
        assert door.refusal(run, "GET", target) == wrong
    assert door.refusal(run, "POST", "/api/v1/token/verify") == wrong
    assert door.refusal(client, "POST", "/sdk/v1/runs/run-1/claim") == wrong


@pytest.mark.parametrize(
    "changes",
    [{name: None} for name in ("sub", "lease", "attempt", "partner", "job", "scope", "exp", "aud")]
    + [{"lease": "7"}, {"lease": True}, {"lease": 7.0}, {"aud": "runway-local"}, {"sub": ["run-1"]}],
)
def test_an_incomplete_run_token_is_invalid(
    door: Any, keys: Any, tools: Any, changes: dict[str, Any]
) -> None:
    token = tools.mint(keys.ed, door.run_claims(**changes))
    assert door.refusal(token, "POST", "/sdk/v1/runs/run-1/claim") == INVALID


def test_a_client_issuer_cannot_speak_for_runs_nor_jobs_for_clients(door: Any, keys: Any, tools: Any) -> None:
    stranger = OKPKey.generate_key("Ed25519", auto_kid=True)
    door.published = [stranger.as_dict(private=False), keys.rsa.as_dict(private=False)]
    assert (
        door.refusal(tools.mint(stranger, door.run_claims()), "POST", "/sdk/v1/runs/run-1/claim") == INVALID
    )
    assert door.refusal(tools.mint(keys.ed, door.claims())) == INVALID
    rsa_run = tools.mint(keys.rsa, door.run_claims())
    assert door.refusal(rsa_run, "POST", "/sdk/v1/runs/run-1/claim") == INVALID


def test_every_401_and_403_carries_a_challenge(door: Any, keys: Any, tools: Any) -> None:
    tokens = (
        None,
        "x",
        tools.mint(keys.rsa, door.claims(scope=None)),
        tools.mint(keys.ed, door.run_claims()),
    )
    for token in tokens:
        problem = door.knock(token).problem
        assert problem.status in (401, 403)
        assert problem.headers["WWW-Authenticate"].startswith('Bearer realm="taxiway"')
    assert 'error="invalid_token"' in door.knock("x").problem.headers["WWW-Authenticate"]


def test_path_and_method_are_looked_at_before_the_token(door: Any) -> None:
    assert door.refusal(None, "GET", "/api/v1/%2e%2e/internal")[0] == 400
    assert door.refusal(None, "GET", "/internal/run-keys")[0] == 404
    decision = door.knock(None, "DELETE", "/api/v1/jobs")
    assert decision.problem.status == 405
    assert decision.problem.headers["Allow"] == "GET, POST, HEAD"
    assert door.refusal(None, "OPTIONS", "/api/v1/jobs")[0] == 405
    assert door.refusal(None, "get", "/api/v1/jobs")[0] == 405


def test_a_body_announced_too_large_is_refused_after_the_token(door: Any, keys: Any, tools: Any) -> None:
    token = tools.mint(keys.rsa, door.claims())
    size = {"content_length": str(1024 * 1024 + 1)}
    assert door.refusal(None, "POST", "/api/v1/jobs", **size)[0] == 401
    assert door.refusal(token, "POST", "/api/v1/jobs", **size)[0] == 413
    door.admitted(token, "POST", "/api/v1/jobs", content_length=str(1024 * 1024))
    assert door.refusal(None, "POST", "/oauth/token", content_length="65537")[0] == 413


@pytest.mark.parametrize(
    "target", ["/api/v1/jobs", "/api/v1/jobs/", "/api/v1/jobs?x=%5b", "/api/v1/%6aobs/1"]
)
def test_what_is_forwarded_is_what_was_matched_and_signed(
    door: Any, keys: Any, tools: Any, target: str
) -> None:
    decision = door.admitted(tools.mint(keys.rsa, door.claims()), "GET", target)
    signed = principal.verify(decision.headers, "GET", decision.target, {"j1": b"j" * 32}, door.now)
    assert signed == decision.principal
    with pytest.raises(principal.SignatureError):
        principal.verify(decision.headers, "POST", decision.target, {"j1": b"j" * 32}, door.now)


def test_each_receiver_has_its_own_key(door: Any, keys: Any, tools: Any) -> None:
    decision = door.admitted(tools.mint(keys.rsa, door.claims()), "GET", "/api/v1/output-sets")
    principal.verify(decision.headers, "GET", decision.target, {"o1": b"o" * 32}, door.now)
    with pytest.raises(principal.SignatureError):
        principal.verify(decision.headers, "GET", decision.target, {"j1": b"j" * 32}, door.now)


def test_what_goes_to_the_issuer_is_neither_identified_nor_signed(door: Any) -> None:
    decision = door.admitted(
        None, "POST", "/oauth/token", authorization="Basic dTpw", x_auth_kind="client", X_Auth_Signature="s"
    )
    assert decision.principal is None
    assert dict(decision.headers) == {"authorization": "Basic dTpw"}
