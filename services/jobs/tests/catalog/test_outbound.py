"""The guard of outbound calls: which addresses are reached, whatever a name resolves to."""

from collections.abc import Sequence

import pytest

from jobs.catalog.outbound import GuardedHttp, OutboundFailed, OutboundRefused

INNER = [
    *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
    *("100.64.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1"),
    *(
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
    ),
]


def guard(*allowed: str, found: Sequence[str]) -> GuardedHttp:
    return GuardedHttp(allowed, resolve=lambda *_: found)


@pytest.mark.parametrize("address", INNER)
def test_an_inner_address_is_refused(address: str) -> None:
    with pytest.raises(OutboundRefused, match="ODS_ALLOWED_HOSTS"):
        guard(found=[address]).send("GET", "http://ods.example")


def test_one_inner_address_among_public_ones_is_refused() -> None:
    with pytest.raises(OutboundRefused):
        guard(found=["93.184.216.34", "127.0.0.1"]).send("GET", "http://ods.example")


@pytest.mark.parametrize("allowed", ["127.0.0.1", "127.0.0.0/8", "ods.example", "ODS.example"])
def test_what_the_operator_allows_is_reached(allowed: str) -> None:
    with pytest.raises(OutboundFailed, match="cannot be reached"):
        guard(allowed, found=["127.0.0.1"]).send("GET", "http://ods.example:9")


@pytest.mark.parametrize("allowed", ["10.0.0.0/8", "example", "other.example"])
def test_what_is_allowed_allows_nothing_else(allowed: str) -> None:
    with pytest.raises(OutboundRefused):
        guard(allowed, found=["127.0.0.1"]).send("GET", "http://ods.example")


def test_a_name_nobody_knows_is_said_to_be_unknown() -> None:
    def unknown(host: str, port: int) -> Sequence[str]:
        raise OSError

    with pytest.raises(OutboundFailed, match=r"the name ods\.example is not known"):
        GuardedHttp((), resolve=unknown).send("GET", "http://ods.example")
