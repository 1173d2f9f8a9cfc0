"""Which address a request comes from: the peer's, or what our own proxies say. Pure."""

import ipaddress
from collections.abc import Iterable

from common.settings import words

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
UNKNOWN = "unknown"
IPV6_BITS = 64  # a site has at least so many to itself: one address of it is as good as another


def networks(text: str) -> tuple[Network, ...]:
    """Parse addresses and networks separated by spaces."""
    return tuple(ipaddress.ip_network(word) for word in words(text))


class Proxies:
    """The proxies whose `X-Forwarded-For` is believed; everyone else's is what anyone may write."""

    def __init__(self, trusted: Iterable[Network]) -> None:
        self._trusted = tuple(trusted)

    def client_of(self, peer: str, forwarded_for: str) -> str:
        """Find the last address on the way that is not ours."""
        found = _address(peer)
        for hop in reversed(forwarded_for.split(",")):
            if found is None or not self._trusts(found):
                break
            told = _address(hop.strip())
            if told is None:
                break
            found = told
        return str(found) if found else UNKNOWN

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def site_of(text: str) -> str:
    """Name what an address counts under: itself, or the network of an IPv6 address."""
    address = _address(text)
    if not isinstance(address, ipaddress.IPv6Address):
        return text
    return str(ipaddress.ip_network((int(address), IPV6_BITS), strict=False))
