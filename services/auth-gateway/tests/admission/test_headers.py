"""Headers through the gateway: no credentials, no claims, nothing of one hop."""

import pytest

from gateway import headers

SPELLINGS = [
    "X-Auth-Kind",
    "x-auth-kind",
    "X-AUTH-KIND",
    "X_Auth_Kind",
    "x_auth_kind",
    "X-Auth_Kind",
    "x_auth-scopes",
    "X-Auth-Signature",
    "x-auth-anything-new",
    "X_AUTH_PARTNERS",
    " X-Auth-Kind",
    "X-Forwarded-For",
    "X_Forwarded_Proto",
    "x-forwarded-prefix",
    "Forwarded",
    "X-Real-IP",
    "X-HTTP-Method-Override",
    "Authorization",
    "X-Request-Id",
    "Host",
    "Content-Length",
    "Expect",
    "Connection",
    "Keep-Alive",
    "Proxy-Authorization",
    "TE",
    "Transfer_Encoding",
    "Upgrade",
    "Trailer",
    "Proxy-Connection",
]


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_header_that_could_deceive_a_service_is_dropped_in_every_spelling(name: str) -> None:
    kept = headers.to_upstream(headers.inbound([(name, "x"), ("Accept", "*/*")]), keep_authorization=False)
    assert kept == (("accept", "*/*"),)


def test_headers_nominated_by_connection_are_dropped() -> None:
    given = [
        ("Connection", "close, X-Secret"),
        ("X-Secret", "1"),
        ("Connection", "x_other"),
        ("X-Other", "2"),
    ]
    kept = headers.to_upstream(headers.inbound([*given, ("X-Kept", "3")]), keep_authorization=False)
    assert kept == (("x-kept", "3"),)


def test_what_matters_end_to_end_is_kept() -> None:
    names: tuple[str, ...] = (
        "accept",
        "accept-encoding",
        "content-type",
        "idempotency-key",
        "if-none-match",
        "last-event-id",
    )
    names += ("traceparent", "tracestate", "user-agent", "content-encoding", "range", "cookie")
    given = [(name, "v") for name in names]
    assert headers.to_upstream(headers.inbound(given), keep_authorization=False) == tuple(given)


def test_repeated_headers_are_joined() -> None:
    assert headers.inbound([("Accept", "a"), ("ACCEPT", "b")]) == {"accept": "a, b"}


def test_an_answer_keeps_its_headers_but_those_of_the_hop() -> None:
    given = [
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("Link", "<x>; rel=next"),
        ("ETag", 'W/"1"'),
        ("Connection", "x-hop"),
        ("X-Hop", "1"),
        ("Transfer-Encoding", "chunked"),
        ("Server", "s"),
        ("Date", "d"),
        ("X-Request-Id", "i"),
        ("Content-Encoding", "gzip"),
        ("Content-Length", "5"),
        ("WWW-Authenticate", "Bearer"),
    ]
    kept = headers.to_client(given)
    assert kept == [*given[:4], *given[10:]]
