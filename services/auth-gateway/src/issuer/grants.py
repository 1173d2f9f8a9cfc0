"""What a client says and asks for, and what it is granted: RFC 6749 with the forms clients really send."""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

from issuer.clients import Client
from issuer.errors import InvalidClient, InvalidScope, InvalidTarget, UnsupportedGrantType, invalid_request

GRANT_TYPES = ("client_credentials",)
SOCIAL_SCOPES = frozenset({"openid", "profile", "email", "offline_access"})  # accepted, and never narrow
_BASIC = re.compile(r"basic +(\S+)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """How a client proves itself."""

    client_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What a client gets: its scopes, all or those it asked for, one audience, and perhaps an ID token."""

    scopes: tuple[str, ...]
    audience: str
    has_id_token: bool


def single(parameters: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Reduce parameters to one value each; empty ones are as if left out. Raises invalid_request."""
    if any(len(values) > 1 for values in parameters.values()):  # RFC 6749 §3.2
        raise invalid_request("A parameter is given more than once")
    return {name: values[0] for name, values in parameters.items() if values and values[0]}


def require_grant_type(given: Mapping[str, str]) -> None:
    """Raise invalid_request where it is missing, unsupported_grant_type where it is another."""
    if "grant_type" not in given:
        raise invalid_request("grant_type is missing")
    if given["grant_type"] not in GRANT_TYPES:
        raise UnsupportedGrantType


def credentials(given: Mapping[str, str], authorization: str) -> Credentials:
    """Read the credentials from the header or the body. Raises invalid_request or invalid_client."""
    if authorization:
        client_id, secret = basic(authorization)
        # RFC 6749 §2.3: one way to authenticate a request, and about one client.
        if "client_secret" in given or given.get("client_id", client_id) != client_id:
            raise invalid_request("Credentials are given twice: in the header and in the body")
        return Credentials(client_id=client_id, secret=secret)
    if "client_id" not in given or "client_secret" not in given:
        raise InvalidClient
    return Credentials(client_id=given["client_id"], secret=given["client_secret"])


def basic(authorization: str) -> tuple[str, str]:
    """Read HTTP Basic credentials, form-encoded before they were joined (RFC 6749 §2.3.1)."""
    found = _BASIC.fullmatch(authorization.strip())
    if found is None:
        raise InvalidClient
    try:
        client_id, colon, secret = base64.b64decode(found[1], validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise InvalidClient from None
    if not colon:
        raise InvalidClient
    return unquote_plus(client_id), unquote_plus(secret)


def decide(client: Client, given: Mapping[str, str], audiences: Sequence[str]) -> Grant:
    """Grant the client's scopes, or those it asked for. Raises invalid_scope or invalid_target."""
    asked, audience = given.get("scope", "").split(), given.get("audience", "")
    wanted = [scope for scope in asked if scope not in SOCIAL_SCOPES]
    if set(wanted) - set(client.scopes):
        raise InvalidScope
    if audience and audience not in audiences:
        raise InvalidTarget
    granted = tuple(scope for scope in client.scopes if not wanted or scope in wanted)
    return Grant(scopes=granted, audience=audience or audiences[0], has_id_token="openid" in asked)
