"""Calls to addresses that people give us: never to our own network, never further than asked.

An editor's URL must not become a way into the network this service stands in (server-side request forgery):
the name is resolved once, every address of it must be public or allowed by the operator, and the connection
goes to the address that was checked. No redirect is followed; time and size are bounded.
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import urllib3

CONNECT_SECONDS = 3.0
READ_SECONDS = 5.0
LARGEST_ANSWER_BYTES = 256 * 1024
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]


class OutboundRefused(Exception):
    """The address is inside our own network and not allowed, or is none."""


class OutboundFailed(Exception):
    """The address did not answer as HTTP does, in time."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was answered."""

    status: int
    body: bytes


class Outbound(Protocol):
    """The way out."""

    def send(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: str | None = None
    ) -> Answer:
        """Send one request; raises OutboundRefused, OutboundFailed."""


def addresses_of(host: str, port: int) -> list[str]:
    """Ask the resolver of the machine; raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class GuardedHttp:
    """An Outbound that reaches public addresses, and inner ones that `allowed` names.

    `allowed` holds host names, addresses and networks.
    """

    def __init__(self, allowed: Sequence[str], resolve: Resolve = addresses_of) -> None:
        self._hosts = {each.lower() for each in allowed}
        self._networks = [network for each in allowed if (network := _network(each)) is not None]
        self._resolve = resolve

    def send(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: str | None = None
    ) -> Answer:
        """Send one request to the checked address; raises OutboundRefused, OutboundFailed."""
        parts = urlsplit(url)
        host, is_https = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if is_https else 80)
        pool = _pool(self._checked(host, port), port, host, is_https=is_https)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            answer = pool.request(
                method,
                target,
                body=body,
                headers={"Host": parts.netloc, **(headers or {})},
                redirect=False,
                preload_content=False,
            )
            return Answer(status=answer.status, body=_body(answer))
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise OutboundFailed(_said(error)) from error
        finally:
            pool.close()

    def _checked(self, host: str, port: int) -> str:
        try:
            found = self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise OutboundFailed(f"the name {host} is not known") from error
        addresses = [ipaddress.ip_address(each.partition("%")[0]) for each in found]
        if not addresses:
            raise OutboundFailed(f"the name {host} is not known")
        if host.lower() not in self._hosts and not all(self._may_reach(each) for each in addresses):
            raise OutboundRefused(f"{host} is inside our own network and not in ODS_ALLOWED_HOSTS")
        return str(addresses[0])

    def _may_reach(self, address: Address) -> bool:
        plain = getattr(address, "ipv4_mapped", None) or address
        return _is_public(plain) or any(plain in network for network in self._networks)


def _is_public(address: Address) -> bool:
    # IPv6 can carry an IPv4 address through a translator or tunnel (RFC 6052, RFC 3056, RFC 4380).
    if isinstance(address, ipaddress.IPv6Address) and (
        address.sixtofour or address.teredo or address in ipaddress.ip_network("64:ff9b::/96")
    ):
        return False
    return address.is_global and not address.is_multicast


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _pool(address: str, port: int, host: str, *, is_https: bool) -> urllib3.HTTPConnectionPool:
    timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
    if not is_https:
        return urllib3.HTTPConnectionPool(address, port, timeout=timeout, retries=False)
    return urllib3.HTTPSConnectionPool(
        address,
        port,
        timeout=timeout,
        retries=False,
        ssl_context=ssl.create_default_context(),
        server_hostname=host,
        assert_hostname=host,
    )


def _body(answer: urllib3.BaseHTTPResponse) -> bytes:
    """Read what comes, until it is enough, in size or in time."""
    until, body = time.monotonic() + READ_SECONDS, b""
    while chunk := answer.read1(16 * 1024):
        body += chunk
        if len(body) > LARGEST_ANSWER_BYTES or time.monotonic() > until:
            raise OutboundFailed("its answer does not end")
    return body


def _said(error: Exception) -> str:
    if isinstance(error, urllib3.exceptions.NewConnectionError):  # before its base, the timeout
        return "it cannot be reached"
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "it did not answer in time"
    if isinstance(error, urllib3.exceptions.SSLError):
        return "its TLS certificate is not accepted"
    return "it does not speak HTTP"
