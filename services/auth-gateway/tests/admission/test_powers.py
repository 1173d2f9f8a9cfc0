"""What an API key's scopes stand for, and what a maker can hand on."""

import pytest

from common.principal import Principal
from gateway.powers import Powers, expanded, roles_of

READER = frozenset({"read:jobs", "read:jobs:output-files"})


def powers(*scopes: str, partners: str = "ea", role: str = "", quota: int = 100) -> Powers:
    caller = Principal(
        kind="client",
        subject="s",
        scopes=frozenset(scopes),
        partners=frozenset(partners.split()),
        roles=frozenset({role} - {""}),
    )
    return Powers.of(caller, quota)


@pytest.mark.parametrize(
    ("scopes", "names"),
    [
        (["read"], "read read:jobs read:jobs:output-files"),
        (["write"], "create:jobs write"),
        (["read", "write"], "create:jobs read read:jobs read:jobs:output-files write"),
        (["admin"], "admin create:jobs read read:jobs read:jobs:output-files write"),
    ],
)
def test_a_scope_goes_by_both_names(scopes: list[str], names: str) -> None:
    assert " ".join(sorted(expanded(scopes))) == names


def test_only_admin_is_a_role() -> None:
    assert roles_of(["admin"]) == {"Administrator"}
    assert roles_of(["read", "write"]) == frozenset()


@pytest.mark.parametrize(
    ("maker", "scopes", "beyond"),
    [
        (powers(*READER), ["read"], []),
        (powers("read:jobs"), ["read"], ["scope read"]),  # it would read output files
        (powers(*READER), ["write"], ["scope write"]),
        (powers("create:jobs"), ["write"], []),
        (powers("create:jobs"), ["read", "write"], ["scope read"]),
        (powers(*READER, "create:jobs"), ["admin"], ["scope admin"]),
        (powers(*expanded(["read", "write"])), ["read", "write"], []),
        (powers(*expanded(["admin"])), ["admin"], ["scope admin"]),  # the scopes alone are no role
        (powers(*READER, "create:jobs", role="Editor"), ["admin"], ["scope admin"]),
        (powers(role="Administrator", partners=""), ["admin"], []),
    ],
)
def test_nobody_hands_on_a_scope_it_has_not(maker: Powers, scopes: list[str], beyond: list[str]) -> None:
    partners = [] if maker.is_administrator else ["ea"]
    assert maker.exceeded_by(scopes, partners, 100) == beyond


def test_nobody_hands_on_a_partner_it_has_not() -> None:
    maker = powers("create:jobs", partners="ea acme")
    assert maker.exceeded_by(["write"], ["acme"], 1) == []
    assert maker.exceeded_by(["write"], ["ea", "EA", "e"], 1) == ["partner EA", "partner e"]


def test_nobody_hands_on_a_larger_quota_than_its_own() -> None:
    maker = powers("create:jobs", quota=100)
    assert maker.exceeded_by(["write"], [], 100) == []
    assert maker.exceeded_by(["write"], [], 101) == ["more than 100 requests an hour"]


def test_an_administrator_lacks_nothing() -> None:
    maker = powers(role="Administrator", partners="")
    assert maker.exceeded_by(["read", "write", "admin"], ["acme"], 10**9) == []
