"""Where keys come from: an OIDC issuer's discovery document, or the jobs service for run tokens."""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from common import principal
from common.clock import Clock
from gateway.keys import FetchFailed

TIMEOUT = urllib3.Timeout(connect=2, read=3)
MAX_DOCUMENT_BYTES = 1024 * 1024
RUN_KEYS_PATH = "/internal/run-keys"


def discovery(http: urllib3.PoolManager, issuer: str) -> Callable[[], list[Any]]:
    """Fetch an issuer's keys by way of its discovery document (OpenID Connect Discovery 1.0 §4)."""

    def fetch() -> list[Any]:
        document = _get_json(http, f"{issuer.rstrip('/')}/.well-known/openid-configuration", {})
        if document.get("issuer") != issuer:  # §4.3
            raise FetchFailed("the discovery document names another issuer")
        address = document.get("jwks_uri")
        schemes = ("https",) if issuer.startswith("https:") else ("http", "https")
        if not isinstance(address, str) or urlsplit(address).scheme not in schemes:
            raise FetchFailed("the discovery document has no usable jwks_uri")
        return _keys(_get_json(http, address, {}))

    return fetch


def run_keys(
    http: urllib3.PoolManager, jobs_url: str, signing_key: Mapping[str, bytes], clock: Clock
) -> Callable[[], list[Any]]:
    """Fetch the keys of run tokens from the jobs service, by a signed call."""

    def fetch() -> list[Any]:
        now = int(clock.now().timestamp())
        caller = principal.service("gateway")
        headers = principal.signed_headers(caller, "GET", RUN_KEYS_PATH, signing_key, now)
        return _keys(_get_json(http, jobs_url + RUN_KEYS_PATH, headers))

    return fetch


def _get_json(http: urllib3.PoolManager, url: str, headers: Mapping[str, str]) -> dict[str, Any]:
    try:
        response = http.request(
            "GET", url, headers=headers, timeout=TIMEOUT, retries=False, redirect=False, preload_content=False
        )
        body = response.read(MAX_DOCUMENT_BYTES + 1, decode_content=True)
        response.close()
    except (HTTPError, OSError, ValueError) as error:
        raise FetchFailed(f"{url}: {type(error).__name__}") from error
    if response.status != 200 or len(body) > MAX_DOCUMENT_BYTES:
        raise FetchFailed(f"{url}: status {response.status}, {len(body)} bytes")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise FetchFailed(f"{url}: no JSON") from error
    if not isinstance(document, dict):
        raise FetchFailed(f"{url}: no JSON object")
    return document


def _keys(document: dict[str, Any]) -> list[Any]:
    keys = document.get("keys")
    if not isinstance(keys, list):
        raise FetchFailed("the key set has no keys")
    return keys
