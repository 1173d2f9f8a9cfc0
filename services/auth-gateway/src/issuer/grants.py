"""What a client asks for, and what it is granted. Pure: RFC 6749 §4.4 with the forms clients really send."""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

from issuer.clients import Client
from issuer.errors import (
    invalid_client,
    invalid_request,
    invalid_scope,
    invalid_target,
    unsupported_grant_type,
)

GRANT_TYPES = ("client_credentials",)
SOCIAL_SCOPES = frozenset({"openid", "profile", "email", "offline_access"})  # accepted, and never narrow
_BASIC = re.compile(r"basic +(\S+)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A token request, read and found complete."""

    client_id: str
    secret: str = field(repr=False)
    scopes: tuple[str, ...] = ()
    audience: str = ""

    @property
    def wants_id_token(self) -> bool:
        return "openid" in self.scopes


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What a client gets: its scopes, all or those it asked for, and one audience."""

    scopes: tuple[str, ...]
    audience: str


def read(parameters: Mapping[str, Sequence[str]], authorization: str) -> Asked:
    """Read a token request. `parameters` maps each name to its values, as often as it came.

    Raises invalid_request, unsupported_grant_type or invalid_client.
    """
    repeated = sorted(name for name, values in parameters.items() if len(values) > 1)
    if repeated:  # RFC 6749 §3.2
        raise invalid_request(f"Given more than once: {', '.join(repeated)}")
    given = {name: values[0] for name, values in parameters.items() if values and values[0]}
    if "grant_type" not in given:
        raise invalid_request("grant_type is missing")
    if given["grant_type"] not in GRANT_TYPES:
        raise unsupported_grant_type()
    client_id, secret = _credentials(given, authorization)
    scopes = tuple(given.get("scope", "").split())
    return Asked(client_id=client_id, secret=secret, scopes=scopes, audience=given.get("audience", ""))


def _credentials(given: Mapping[str, str], authorization: str) -> tuple[str, str]:
    if authorization:
        client_id, secret = basic(authorization)
        # RFC 6749 §2.3: one way to authenticate a request, and about one client.
        if "client_secret" in given or given.get("client_id", client_id) != client_id:
            raise invalid_request("Credentials are given twice: in the header and in the body")
        return client_id, secret
    if "client_id" not in given or "client_secret" not in given:
        raise invalid_client()
    return given["client_id"], given["client_secret"]


def basic(authorization: str) -> tuple[str, str]:
    """Read HTTP Basic credentials, form-encoded before they were joined (RFC 6749 §2.3.1)."""
    found = _BASIC.fullmatch(authorization.strip())
    if found is None:
        raise invalid_client()
    try:
        client_id, colon, secret = base64.b64decode(found[1], validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise invalid_client() from None
    if not colon:
        raise invalid_client()
    return unquote_plus(client_id), unquote_plus(secret)


def decide(client: Client, asked: Asked, audiences: Sequence[str]) -> Grant:
    """Grant the client's scopes, or those it asked for. Raises invalid_scope or invalid_target."""
    wanted = [scope for scope in asked.scopes if scope not in SOCIAL_SCOPES]
    if set(wanted) - set(client.scopes):
        raise invalid_scope()
    if asked.audience and asked.audience not in audiences:
        raise invalid_target()
    granted = tuple(scope for scope in client.scopes if not wanted or scope in wanted)
    return Grant(scopes=granted, audience=asked.audience or audiences[0])
