"""Which headers go through the gateway. Pure; names in any case, `_` taken for `-` as WSGI and CGI do."""

from collections.abc import Iterable, Mapping

Headers = tuple[tuple[str, str], ...]

# RFC 9110 §7.6.1, with the obsolete names that are still sent
HOP_BY_HOP = frozenset(
    {
        "connection", "http2-settings", "keep-alive", "proxy-authenticate", "proxy-authentication-info",
        "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_OURS = frozenset({"content-length", "expect", "host", "x-request-id"})  # written anew by whoever forwards
_CLAIMS = frozenset({"forwarded", "x-real-ip", "x-original-url", "x-rewrite-url", "x-http-method-override"})
_CLAIM_PREFIXES = ("x-auth-", "x-forwarded-")
_ANSWER_OURS = frozenset({"date", "server", "x-request-id"})


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


def to_upstream(headers: Mapping[str, str], *, keep_authorization: bool) -> Headers:
    """Choose what a service gets to see: no credentials, no claims about the caller, nothing of this hop."""
    dropped = HOP_BY_HOP | _OURS | _CLAIMS | _nominated(headers.get("connection", ""))
    if not keep_authorization:
        dropped |= {"authorization"}
    return tuple(
        (name, value)
        for name, value in headers.items()
        if name not in dropped and not name.startswith(_CLAIM_PREFIXES)
    )


def to_client(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Choose what a client gets to see of a service's answer; repeated headers stay apart (Set-Cookie)."""
    pairs = list(headers)
    nominations = ",".join(value for name, value in pairs if name.lower() == "connection")
    dropped = HOP_BY_HOP | _ANSWER_OURS | _nominated(nominations)
    return [(name, value) for name, value in pairs if name.lower() not in dropped]


def _nominated(connection: str) -> frozenset[str]:
    return frozenset(canonical(name) for name in connection.split(",") if name.strip())
