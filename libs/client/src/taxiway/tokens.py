"""Get a token with client credentials (RFC 6749 §4.4), keep it, and get the next in time."""

import threading
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from taxiway.calls import Caller, json_of
from taxiway.errors import NotUnderstood, Problem, Refused, TokenRefused

RENEW_BEFORE_SECONDS = 30.0  # at most; of a token's life at most a tenth
_BASIC, _POST = "client_secret_basic", "client_secret_post"


@dataclass(frozen=True, kw_only=True)
class Token:
    """An access token and until when it is used, in seconds of the Unix clock."""

    access_token: str = field(repr=False)
    good_until: float


class TokenStore(Protocol):
    """Where a token is kept between processes."""

    def load(self) -> Token | None: ...

    def save(self, token: Token) -> None: ...


class Unkept:
    """Keeps no token beyond the process."""

    def load(self) -> Token | None:
        return None

    def save(self, token: Token) -> None:
        """Do nothing."""


@dataclass(frozen=True, kw_only=True)
class Application:
    """A client application at an issuer. `secret` is called when a token must be got, not before."""

    issuer: str
    client_id: str
    secret: Callable[[], str]
    audience: str = ""


class Tokens:
    """Hands out a token that is good, renewing it shortly before its end."""

    def __init__(self, caller: Caller, application: Application, store: TokenStore | None = None) -> None:
        self._caller = caller
        self._application = application
        self._store: TokenStore = store or Unkept()
        self._token: Token | None = None
        self._lock = threading.Lock()

    def current(self) -> str:
        """Return a token that is good for a while. Raises TokenRefused, Unreachable."""
        with self._lock:
            token = self._token or self._store.load()
            if token is None or time.time() >= token.good_until:
                token = self._new()
            self._token = token
            return token.access_token

    def renew(self, refused: str) -> str:
        """Return another token than the one the server refused."""
        with self._lock:
            if self._token is None or self._token.access_token == refused:
                self._token = self._new()
            return self._token.access_token

    def _new(self) -> Token:
        application = self._application
        secret = application.secret()
        form = {"grant_type": "client_credentials"}
        form |= {"audience": application.audience} if application.audience else {}
        url, methods = self._discover()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if _POST in methods:
            form |= {"client_id": application.client_id, "client_secret": secret}
        else:
            headers["Authorization"] = _basic(application.client_id, secret)
        try:
            answer = self._caller.send("POST", url, headers=headers, body=urlencode(form).encode())
        except Refused as refused:
            raise _explained(refused.problem, application) from None
        token = _read(json_of(answer))
        self._store.save(token)
        return token

    def _discover(self) -> tuple[str, list[str]]:
        """Find the token endpoint and how it wants credentials (OpenID Connect Discovery 1.0 §4)."""
        issuer = self._application.issuer
        url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            document = json_of(self._caller.send("GET", url, headers={"Accept": "application/json"}))
        except Refused as refused:
            raise NotUnderstood(f"{issuer} is no issuer: {url} answers {refused.problem.status}") from None
        if not isinstance(document, dict) or not isinstance(document.get("token_endpoint"), str):
            raise NotUnderstood(f"{issuer} is no issuer: its configuration names no token endpoint")
        if str(document.get("issuer", "")).rstrip("/") != issuer.rstrip("/"):  # Discovery 1.0 §4.3
            raise NotUnderstood(f"{issuer} says that it is another issuer: {document.get('issuer')}")
        return document["token_endpoint"], document.get("token_endpoint_auth_methods_supported") or [_BASIC]


def _basic(client_id: str, secret: str) -> str:
    pair = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"  # RFC 6749 §2.3.1
    return f"Basic {b64encode(pair.encode()).decode()}"


def _explained(problem: Problem, application: Application) -> TokenRefused:
    sentence = f"{application.issuer} gives {application.client_id} no token: {problem.detail}"
    return TokenRefused(Problem(status=problem.status, detail=sentence, request_id=problem.request_id))


def _read(document: Any) -> Token:
    if not isinstance(document, dict) or not isinstance(document.get("access_token"), str):
        raise NotUnderstood("The issuer's answer has no access_token")
    try:
        lifetime_seconds = float(document.get("expires_in", 60))
    except (TypeError, ValueError):
        lifetime_seconds = 60.0
    used_seconds = lifetime_seconds - min(RENEW_BEFORE_SECONDS, lifetime_seconds / 10)
    return Token(access_token=document["access_token"], good_until=time.time() + used_seconds)
