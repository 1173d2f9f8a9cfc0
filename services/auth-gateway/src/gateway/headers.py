"""Which headers go through the gateway. Pure; names in any case, `_` taken for `-` as WSGI and CGI do."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.tokens import Accepted

Headers = tuple[tuple[str, str], ...]

# RFC 9110 §7.6.1, with the obsolete names that are still sent
HOP_BY_HOP = frozenset(
    {
        "connection", "http2-settings", "keep-alive", "proxy-authenticate", "proxy-authentication-info",
        "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_BEARER = re.compile(r"bearer +(\S.*)", re.IGNORECASE)
_OURS = frozenset({"content-length", "expect", "host", "x-request-id"})  # written anew by whoever forwards
_CLAIMS = frozenset({"forwarded", "x-real-ip", "x-original-url", "x-rewrite-url", "x-http-method-override"})
_CLAIM_PREFIXES = ("x-auth-", "x-forwarded-")
_DROPPED = HOP_BY_HOP | _OURS | _CLAIMS
_DROPPED_CREDENTIALS = _DROPPED | {"authorization"}
ANSWER_DROPPED = HOP_BY_HOP | {"date", "server", "x-request-id"}


def canonical(name: str) -> str:
    """The name under which a header counts, however it is spelled."""
    return name.strip().lower().replace("_", "-")


def inbound(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Collect headers by canonical name; repeated ones are joined (RFC 9110 §5.3)."""
    collected: dict[str, str] = {}
    for name, value in headers:
        name = canonical(name)
        collected[name] = f"{collected[name]}, {value}" if name in collected else value
    return collected


class Block:
    """The headers of a request under their canonical names, and what was made of them.

    A lane that meets the same block again may hand in the same object: nothing is worked out twice. Until
    `believed_until` (Unix seconds) admission goes by the `verdict` it left here.
    """

    __slots__ = ("_lines", "_token", "_token_name", "_upstream", "believed_until", "values", "verdict")

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = values
        self._token: str | None = None
        self._token_name = b""
        self._upstream: Headers | None = None
        self._lines: bytes | None = None
        self.verdict: Accepted | None = None
        self.believed_until = 0.0

    @property
    def token(self) -> str:
        """The bearer token, or nothing (RFC 6750 §2.1; the scheme in any case)."""
        if self._token is None:
            bearer = _BEARER.fullmatch(self.values.get("authorization", "").strip())
            self._token = bearer[1] if bearer else ""
        return self._token

    @property
    def token_name(self) -> bytes:
        """The token's SHA-256: its name wherever something is kept about it."""
        if not self._token_name:
            self._token_name = digest(self.token)
        return self._token_name

    @property
    def upstream(self) -> Headers:
        """What a service behind an identity gets to see."""
        if self._upstream is None:
            self._upstream = to_upstream(self.values, keep_authorization=False)
        return self._upstream

    @property
    def lines(self) -> bytes:
        """The same as it goes over the wire."""
        if self._lines is None:
            self._lines = wire(self.upstream)
        return self._lines


def digest(token: str) -> bytes:
    """The name of a token in memory: logs and dumps give nothing away."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def wire(headers: Headers) -> bytes:
    """Write headers as lines."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers).encode("latin-1")


def to_upstream(headers: Mapping[str, str], *, keep_authorization: bool) -> Headers:
    """Choose what a service gets to see: no credentials, no claims about the caller, nothing of this hop."""
    dropped = _DROPPED if keep_authorization else _DROPPED_CREDENTIALS
    if connection := headers.get("connection"):
        dropped |= _nominated(connection)
    return tuple(
        (name, value)
        for name, value in headers.items()
        if name not in dropped and not name.startswith(_CLAIM_PREFIXES)
    )


def to_client(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Choose what a client gets to see of a service's answer; repeated headers stay apart (Set-Cookie)."""
    pairs = list(headers)
    nominations = ",".join(value for name, value in pairs if name.lower() == "connection")
    dropped = ANSWER_DROPPED | _nominated(nominations)
    return [(name, value) for name, value in pairs if name.lower() not in dropped]


def _nominated(connection: str) -> frozenset[str]:
    return frozenset(canonical(name) for name in connection.split(",") if name.strip())
