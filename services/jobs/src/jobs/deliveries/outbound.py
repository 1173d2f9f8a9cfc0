"""Calls to addresses that people give us: never to our own network, never further than asked.

Somebody's URL must not become a way into the network this service stands in (server-side request forgery):
the name is resolved once, every address of it must be public or allowed by the operator, and the connection
goes to the address that was checked. No redirect is followed; time and size are bounded.
"""

import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

CONNECT_SECONDS = 3.0
SHORTEST_SECONDS = 0.1
LARGEST_ANSWER_BYTES = 256 * 1024
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]
_BROKEN = (urllib3.exceptions.HTTPError, HTTPException, OSError)
_NO_URL = "it must be a plain http:// or https:// URL without credentials"
_URL = re.compile(r"https?://[!-\[\]-~]+")  # visible ASCII without a backslash, RFC 3986 §2
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")  # RFC 4291 §2.4: all there is of public IPv6


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
        """Send one request and read its answer; raises OutboundRefused, OutboundFailed."""

    def tell(self, url: str, *, headers: Mapping[str, str], body: str) -> int:
        """POST something and give the status, whatever else is answered; raises as `send` does."""


def addresses_of(host: str, port: int) -> list[str]:
    """Ask the resolver of the machine; raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class GuardedHttp:
    """An Outbound that reaches public addresses, and inner ones that `allowed` names.

    `allowed` holds host names, addresses and networks; `setting` is where the operator named them. A call is
    cut short after `seconds`, however the other side spreads its answer.
    """

    def __init__(
        self, allowed: Sequence[str], setting: str, *, seconds: float, resolve: Resolve = addresses_of
    ) -> None:
        self._hosts = {each.lower() for each in allowed}
        self._networks = [network for each in allowed if (network := _network(each)) is not None]
        self._setting = setting
        self._seconds = seconds
        self._resolve = resolve

    def send(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: str | None = None
    ) -> Answer:
        """Send one request and read its answer; raises OutboundRefused, OutboundFailed."""
        with self._called(method, url, headers or {}, body) as answer:
            content = answer.read(LARGEST_ANSWER_BYTES + 1)
        if len(content) > LARGEST_ANSWER_BYTES:
            raise OutboundFailed("its answer does not end")
        return Answer(status=answer.status, body=content)

    def tell(self, url: str, *, headers: Mapping[str, str], body: str) -> int:
        """POST something and give the status, whatever else is answered; raises as `send` does."""
        with self._called("POST", url, headers, body) as answer:
            return answer.status

    @contextmanager
    def _called(
        self, method: str, url: str, headers: Mapping[str, str], body: str | None
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        parts, port = read_url(url)
        host = parts.hostname or ""
        address = self._checked(host, port)
        connection = _connection(address, port, host, is_https=parts.scheme == "https")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        sent = {"Host": parts.netloc, **headers}
        until = time.monotonic() + self._seconds
        try:
            connection.connect()
            with _deadline(connection, max(until - time.monotonic(), SHORTEST_SECONDS)):
                connection.request(
                    method, target, body=body, headers=sent, preload_content=False, decode_content=False
                )
                yield connection.getresponse()
        except _BROKEN as error:
            raise OutboundFailed(_said(error)) from error
        finally:
            connection.close()

    def _checked(self, host: str, port: int) -> str:
        try:
            found = self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise OutboundFailed(f"the name {host} is not known") from error
        addresses = [ipaddress.ip_address(each.partition("%")[0]) for each in found]
        if not addresses:
            raise OutboundFailed(f"the name {host} is not known")
        if host.lower() not in self._hosts and not all(self._may_reach(each) for each in addresses):
            raise OutboundRefused(f"{host} is inside our own network and not in {self._setting}")
        return str(addresses[0])

    def _may_reach(self, address: Address) -> bool:
        plain = getattr(address, "ipv4_mapped", None) or address
        return _is_public(plain) or any(plain in network for network in self._networks)


def read_url(url: str) -> tuple[SplitResult, int]:
    """Take an http(s) URL apart, and give the port to call; raises OutboundRefused for any other text."""
    try:
        parts = urlsplit(url)
        port = parts.port if parts.port is not None else (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise OutboundRefused(_NO_URL) from None
    # What is before an @ would be taken for the host by a hasty reader.
    if not _URL.fullmatch(url) or not parts.hostname or "@" in parts.netloc or not port:
        raise OutboundRefused(_NO_URL)
    return parts, port


def _is_public(address: Address) -> bool:
    # IPv6 can carry an IPv4 address through a tunnel (RFC 3056, RFC 4380).
    if isinstance(address, ipaddress.IPv6Address) and (
        address not in _GLOBAL_UNICAST or address.sixtofour or address.teredo
    ):
        return False
    return address.is_global and not address.is_multicast


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _connection(address: str, port: int, host: str, *, is_https: bool) -> HTTPConnection:
    if not is_https:
        return HTTPConnection(address, port, timeout=CONNECT_SECONDS)
    return HTTPSConnection(
        address,
        port,
        timeout=CONNECT_SECONDS,
        ssl_context=ssl.create_default_context(),
        server_hostname=host,
    )


@contextmanager
def _deadline(connection: HTTPConnection, seconds: float) -> Iterator[None]:
    """Cut a connection when its time is up; raises TimeoutError then."""
    sock, is_over = connection.sock, threading.Event()
    sock.settimeout(seconds)

    def cut() -> None:
        is_over.set()
        with suppress(OSError):
            # The bare socket's: that of TLS would change under the thread that reads from it.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except _BROKEN:
        if not is_over.is_set():
            raise
    finally:
        timer.cancel()
    if is_over.is_set():
        raise TimeoutError


def _said(error: Exception) -> str:
    if isinstance(error, urllib3.exceptions.NewConnectionError):  # before its base, the timeout
        return "it cannot be reached"
    if isinstance(error, urllib3.exceptions.TimeoutError | TimeoutError):
        return "it did not answer in time"
    if isinstance(error, urllib3.exceptions.SSLError | ssl.SSLError):
        return "its TLS certificate is not accepted"
    return "it does not speak HTTP"
