"""Keys over the network: discovery, the key set behind it, and the keys of runs."""

from typing import Any

import pytest
import urllib3

from common import principal
from common.clock import FixedClock
from gateway import sources
from gateway.keys import FetchFailed

DISCOVERY = "/realms/x/.well-known/openid-configuration"


@pytest.fixture
def http() -> Any:
    with urllib3.PoolManager(retries=False) as manager:
        yield manager


@pytest.fixture
def issuer(web: Any) -> str:
    name = f"{web.url}/realms/x"
    web.json(DISCOVERY, {"issuer": name, "jwks_uri": f"{web.url}/certs"})
    web.json("/certs", {"keys": [{"kty": "RSA"}]})
    return name


def test_keys_are_found_by_way_of_the_discovery_document(http: Any, web: Any, issuer: str) -> None:
    assert sources.discovery(http, issuer)() == [{"kty": "RSA"}]
    assert [path for _, path, _, _ in web.seen] == [DISCOVERY, "/certs"]


def test_a_slash_at_the_end_of_an_issuer_belongs_to_its_name(http: Any, web: Any, issuer: str) -> None:
    web.json(DISCOVERY, {"issuer": f"{issuer}/", "jwks_uri": f"{web.url}/certs"})
    assert sources.discovery(http, f"{issuer}/")()
    with pytest.raises(FetchFailed):
        sources.discovery(http, issuer)()


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"issuer": "http://other", "jwks_uri": "http://other"},
        {"issuer": None},
    ],
)
def test_a_discovery_document_of_another_issuer_is_not_believed(
    http: Any, web: Any, issuer: str, document: Any
) -> None:
    web.json(DISCOVERY, document)
    with pytest.raises(FetchFailed):
        sources.discovery(http, issuer)()


@pytest.mark.parametrize("address", [None, 5, "", "/certs", "file:///etc/passwd", "ftp://x/y"])
def test_a_key_set_is_fetched_over_http_only(http: Any, web: Any, issuer: str, address: Any) -> None:
    web.json(DISCOVERY, {"issuer": issuer, "jwks_uri": address})
    with pytest.raises(FetchFailed):
        sources.discovery(http, issuer)()


@pytest.mark.parametrize(
    "page",
    [
        (500, {}, b"{}"),
        (302, {"Location": "/elsewhere"}, b""),
        (200, {}, b"nonsense"),
        (200, {}, b"[" * 100_000),
        (200, {}, b'{"keys": 5}'),
        (200, {}, b"{" + b" " * 1024 * 1024 + b"}"),
    ],
    ids=["error", "redirect", "no JSON", "too deep", "no keys", "too large"],
)
def test_an_answer_that_is_no_key_set_is_a_failed_fetch(http: Any, web: Any, issuer: str, page: Any) -> None:
    web.pages["/certs"] = page
    with pytest.raises(FetchFailed):
        sources.discovery(http, issuer)()


def test_an_issuer_that_is_down_is_a_failed_fetch(http: Any, web: Any, issuer: str) -> None:
    web.close()
    with pytest.raises(FetchFailed):
        sources.discovery(http, issuer)()


def test_run_keys_are_asked_of_jobs_by_a_signed_call(http: Any, web: Any) -> None:
    web.json("/internal/run-keys", {"keys": [{"kty": "OKP"}]})
    ring, clock = {"j1": b"j" * 32}, FixedClock()
    assert sources.run_keys(http, web.url, ring, clock)() == [{"kty": "OKP"}]
    method, target, headers, _ = web.seen[0]
    caller = principal.verify(headers, method, target, ring, int(clock.now().timestamp()))
    assert (caller.kind, caller.subject) == ("service", "gateway")
