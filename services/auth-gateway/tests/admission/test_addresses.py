"""Under which address a request counts: the peer's, or the last one that our own proxies vouch for."""

import pytest

from gateway.addresses import UNKNOWN, Proxies, networks, site_of

TRUSTED = "10.0.0.0/8 fd00::/8"


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # anyone may write this
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),  # the client wrote the first
        ("10.0.0.1", "1.1.1.1,198.51.100.1, 10.9.9.9", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.7, 10.0.0.8", "10.0.0.7"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, nonsense", "10.0.0.1"),
        ("fd00::1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6"),
        ("::ffff:10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("", "198.51.100.1", UNKNOWN),
    ],
)
def test_the_last_hop_that_is_not_ours_counts(peer: str, forwarded_for: str, address: str) -> None:
    assert Proxies(networks(TRUSTED)).client_of(peer, forwarded_for) == address


def test_without_trusted_proxies_nobody_is_believed() -> None:
    assert Proxies(()).client_of("10.0.0.1", "198.51.100.1") == "10.0.0.1"


def test_an_ipv6_address_counts_as_its_network() -> None:
    assert site_of("2001:db8:1:2:3:4:5:6") == site_of("2001:db8:1:2::1") != site_of("2001:db8:1:3::1")
    assert [site_of(text) for text in ("198.51.100.1", UNKNOWN)] == ["198.51.100.1", UNKNOWN]
