"""Who is calling: the identity the gateway forwards, and the signature that makes it believable.

The gateway writes a `Principal` as `X-Auth-*` headers and signs them together with the request line;
a receiver verifies before it believes. Calls between services use the same with kind `service`.
"""

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import quote, unquote

PREFIX = "x-auth-"
SIGNATURE = "x-auth-signature"
FRESH_SECONDS = 30
KINDS = ("client", "api-key", "run", "service")


class SignatureError(Exception):
    """The identity headers are not signed, or not by us, or not now."""


class SignatureStale(SignatureError):
    """They are signed by us, and came too late or too early."""


@dataclass(frozen=True, kw_only=True)
class Principal:
    """An authenticated caller. For a run, `run` is its id and `lease` the number that fences it."""

    kind: str
    subject: str
    client_id: str = ""
    client_name: str = ""
    issuer: str = ""
    scopes: frozenset[str] = field(default_factory=frozenset)
    partners: frozenset[str] = field(default_factory=frozenset)
    roles: frozenset[str] = field(default_factory=frozenset)
    run: str = ""
    lease: int = 0
    attempt: int = 0
    job: str = ""
    expires_at: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of principal: {self.kind}")


def _headers(*names: str) -> dict[str, str]:
    return {name: PREFIX + name.replace("_", "-") for name in names}


_TEXTS = _headers("subject", "client_id", "client_name", "issuer", "run", "job")
_SETS = _headers("scopes", "partners", "roles")
_NUMBERS = _headers("lease", "attempt", "expires_at")


def to_headers(principal: Principal) -> dict[str, str]:
    """Write a principal as lower-case headers, values percent-encoded UTF-8, empty ones left out."""
    headers = {f"{PREFIX}kind": principal.kind}
    for name, header in _TEXTS.items():
        if value := getattr(principal, name):
            headers[header] = encoded(value)
    for name, header in _SETS.items():
        if words := getattr(principal, name):
            headers[header] = " ".join(encoded(word, ":") for word in sorted(words))
    for name, header in _NUMBERS.items():
        if number := getattr(principal, name):
            headers[header] = str(number)
    return headers


@lru_cache(maxsize=10_000)
def encoded(value: str, safe: str = "") -> str:
    """Percent-encode a value; most have been seen before."""
    return quote(value, safe=safe)


def from_headers(headers: Mapping[str, str]) -> Principal:
    """Read the principal back; call it only on headers whose signature was verified."""
    texts = {name: unquote(headers.get(header, "")) for name, header in _TEXTS.items()}
    sets = {
        name: frozenset(unquote(word) for word in headers.get(header, "").split())
        for name, header in _SETS.items()
    }
    numbers = {name: int(headers.get(header) or 0) for name, header in _NUMBERS.items()}
    return Principal(kind=headers.get(f"{PREFIX}kind", ""), **texts, **sets, **numbers)  # type: ignore[arg-type]


def service(name: str) -> Principal:
    """The principal of one of our own services calling another."""
    return Principal(kind="service", subject=name)


class Identity:
    """A principal as one receiver hears of it: written once, signed for each request line and second.

    The first of `keys` signs. The body streams and is not covered.
    """

    __slots__ = ("_key", "_kid", "_lines", "_signed", "headers", "wire")

    def __init__(self, principal: Principal, keys: Mapping[str, bytes]) -> None:
        headers = to_headers(principal)
        self._kid, self._key = next(iter(keys.items()))
        self._lines = _lines(sorted(headers.items()))
        self.headers = tuple(headers.items())
        self.wire = "".join(f"{name}: {value}\r\n" for name, value in self.headers).encode("ascii")
        self._signed = ("", "", 0, "")  # the latest request line, second and signature

    def signature(self, method: str, target: str, now: int) -> str:
        """Make the value of `X-Auth-Signature` for one request line."""
        signed = self._signed
        if signed[2] != now or signed[1] != target or signed[0] != method:
            value = f"t={now},k={self._kid},s={_digest(self._key, now, method, target, self._lines)}"
            signed = self._signed = (method, target, now, value)
        return signed[3]


def signed_headers(
    principal: Principal, method: str, target: str, keys: Mapping[str, bytes], now: int
) -> dict[str, str]:
    """Write and sign a principal for one request to one receiver."""
    identity = Identity(principal, keys)
    return {**dict(identity.headers), SIGNATURE: identity.signature(method, target, now)}


def verify(
    headers: Iterable[tuple[str, str]], method: str, target: str, keys: Mapping[str, bytes], now: int
) -> Principal:
    """Check the signature over all `x-auth-*` headers and return the principal, or raise SignatureError
    or SignatureStale.

    `target` is the raw request target with its query, as it came over the wire.
    """
    ours = _collect(headers)
    stamp, kid, digest = _parts(ours.pop(SIGNATURE, ""))
    key = keys.get(kid)
    # As bytes: compare_digest refuses texts that are not ASCII, and a header may hold any Latin-1.
    identity = tuple(sorted(ours.items()))
    if key is None or not hmac.compare_digest(
        _digest(key, stamp, method, target, _lines(identity)).encode(), digest.encode()
    ):
        raise SignatureError("the signature does not match")
    if abs(now - stamp) > FRESH_SECONDS:
        raise SignatureStale("the signature is stale")
    return _read(identity)


@lru_cache(maxsize=2048)
def _read(identity: tuple[tuple[str, str], ...]) -> Principal:
    """Read a principal that was verified; a caller's is the same from call to call."""
    return from_headers(dict(identity))


def _collect(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    ours: dict[str, str] = {}
    for name, value in headers:
        name = name.lower()
        if name.startswith(PREFIX):
            if name in ours:
                raise SignatureError(f"{name} is repeated")
            ours[name] = value
    return ours


def _parts(signature: str) -> tuple[int, str, str]:
    fields = dict(part.partition("=")[::2] for part in signature.split(","))
    try:
        return int(fields["t"]), fields["k"], fields["s"]
    except (KeyError, ValueError):
        raise SignatureError("the signature is missing") from None


def _lines(identity: Iterable[tuple[str, str]]) -> str:
    return "".join([f"\n{name}:{value}" for name, value in identity])


def _digest(key: bytes, stamp: int, method: str, target: str, lines: str) -> str:
    return hmac.digest(key, f"v1\n{stamp}\n{method.upper()}\n{target}{lines}".encode(), "sha256").hex()
