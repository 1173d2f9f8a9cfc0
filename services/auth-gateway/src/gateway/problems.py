"""Every refusal the gateway gives in its own name: sentence, type and challenge (RFC 6750 §3)."""

from collections.abc import Sequence

from common.problems import Problem

REALM = 'Bearer realm="taxiway"'


def unsafe_target(reason: str) -> Problem:
    return Problem(status=400, detail=reason, type="unsafe-path")


def no_route() -> Problem:
    return Problem(status=404, detail="There is nothing at this address")


def wrong_method(allowed: Sequence[str]) -> Problem:
    headers = {"Allow": ", ".join(allowed)}
    return Problem(status=405, detail="This address does not know this method", headers=headers)


def body_too_large(limit_bytes: int) -> Problem:
    return Problem(status=413, detail=f"The body is larger than the {limit_bytes} bytes allowed here")


def body_cut_short() -> Problem:
    return Problem(
        status=400, detail="The body ended early or is not framed correctly", type="body-cut-short"
    )


def malformed_request(reason: str) -> Problem:
    return Problem(
        status=400, detail=f"The request is not HTTP as spoken here: {reason}", type="malformed-request"
    )


def head_too_large() -> Problem:
    return Problem(status=431, detail="The request line or the headers are too large", type="head-too-large")


def no_token() -> Problem:
    # RFC 6750 §3.1: without a token the challenge carries no error code.
    return Problem(status=401, detail="No token", type="no-token", headers={"WWW-Authenticate": REALM})


def invalid_token() -> Problem:
    challenge = f'{REALM}, error="invalid_token", error_description="Invalid token"'
    return Problem(
        status=401, detail="Invalid token", type="invalid-token", headers={"WWW-Authenticate": challenge}
    )


def external_api_disabled() -> Problem:
    return Problem(status=503, detail="External API is disabled.", type="external-api-disabled")


def issuer_unavailable() -> Problem:
    detail = "The token's issuer cannot be asked for its keys right now. Try again."
    return Problem(status=503, detail=detail, type="issuer-unavailable", headers={"Retry-After": "2"})


def unavailable() -> Problem:
    detail = "A part we depend on is not answering. Try again."
    return Problem(status=503, detail=detail, headers={"Retry-After": "1"})


def missing_scope_claim() -> Problem:
    return _forbidden("Token missing scope claim", "missing-scope-claim")


def wrong_kind() -> Problem:
    return _forbidden("This kind of token is not accepted here", "wrong-kind-of-token")


def application_unknown(id: str) -> Problem:
    return Problem(status=404, detail=f"Application not found: {id}", type="application-not-found")


def rule_unknown() -> Problem:
    return Problem(status=404, detail="Access rule not found", type="access-rule-not-found")


def name_taken(name: str) -> Problem:
    return Problem(status=409, detail=f"Another application is named {name}", type="name-taken")


def rule_exists() -> Problem:
    detail = "The application has this role there already"
    return Problem(status=409, detail=detail, type="access-rule-exists")


def rights_mix(partner: str) -> Problem:
    detail = (
        f"A token's scopes hold for all its partners: it could create jobs for {partner}, where the "
        "application may only read. Use another application, or give Researcher there too."
    )
    return Problem(status=409, detail=detail, type="rights-mix")


def secret_shown() -> Problem:
    detail = "The first request with this Idempotency-Key was done; a secret is shown once. Rotate it."
    return Problem(status=409, detail=detail, type="secret-shown-once")


def key_unknown() -> Problem:
    return Problem(status=404, detail="API key not found", type="api-key-not-found")


def beyond_its_maker(beyond: Sequence[str]) -> Problem:
    detail = f"A key cannot have what its maker has not: {', '.join(beyond)}"
    return Problem(status=403, detail=detail, type="beyond-its-maker")


def _forbidden(detail: str, type: str) -> Problem:
    challenge = f'{REALM}, error="insufficient_scope"'
    return Problem(status=403, detail=detail, type=type, headers={"WWW-Authenticate": challenge})


def quota_spent(seconds: int) -> Problem:
    return _too_many("The requests of this hour are used up", seconds)


def too_many_failures(seconds: int) -> Problem:
    return _too_many("Too many failed logins and bad tokens came from this address", seconds)


def _too_many(detail: str, seconds: int) -> Problem:
    return Problem(
        status=429,
        detail=f"{detail}. Try again in {seconds} seconds.",
        headers={"Retry-After": str(seconds)},
        members={"retry_after": seconds},
    )


def bad_gateway() -> Problem:
    return Problem(status=502, detail="A service behind the gateway did not answer properly. Try again.")


def gateway_timeout() -> Problem:
    return Problem(status=504, detail="A service behind the gateway did not answer in time. Try again.")


def internal_error() -> Problem:
    detail = "Something went wrong on our side. The request id finds it in the logs."
    return Problem(status=500, detail=detail)
