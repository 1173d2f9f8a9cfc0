"""Revocations: the view that workers keep, and what it makes of verdicts."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from common import database
from common.clock import FixedClock
from common.principal import Principal
from gateway.revocations import API_KEY, CLIENT, MAX_AGE_SECONDS, TOKEN, Revocations, foreign, revoke
from gateway.tokens import Accepted

OWN, OTHER = "http://own/realms/x", "http://other"
AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"


class Quiet(Revocations):
    """Revocations whose thread does not run: a test reads them itself."""

    def _start(self) -> None:
        """Start nothing."""


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(at=AT)


@pytest.fixture
def view(gateway_engine: Engine, clock: FixedClock) -> Revocations:
    with database.transaction(gateway_engine) as connection:
        connection.execute(text("DELETE FROM gateway.revocation"))
    made = Quiet(gateway_engine, OWN, clock)
    made.refresh()
    return made


@pytest.fixture
def revoking(gateway_engine: Engine) -> Callable[..., None]:
    def act(kind: str, subject: str, before_at: datetime = AT) -> None:
        with database.transaction(gateway_engine) as connection:
            revoke(connection, kind, subject, before_at)

    return act


def verdict(kind: str = "client", issuer: str = OWN, *, issued_at: datetime | None = None) -> Accepted:
    caller = Principal(kind=kind, subject="s", client_id="c", issuer=issuer)
    return Accepted(
        principal=caller,
        has_scope=True,
        issuer=issuer,
        key_thumbprint="t",
        expires_at=0,
        issued_at=issued_at.timestamp() if issued_at else 0,
        token_id="j",
        owner="o" if kind == "api-key" else "",
    )


EARLIER = AT - timedelta(seconds=1)


@pytest.mark.parametrize(
    ("kind", "subject", "hit"),
    [
        (CLIENT, "c", verdict(issued_at=EARLIER)),
        (CLIENT, "c", verdict()),
        (TOKEN, "j", verdict(issued_at=EARLIER)),
        (CLIENT, foreign(OTHER, "c"), verdict(issuer=OTHER, issued_at=EARLIER)),
        (API_KEY, "s", verdict("api-key", "", issued_at=EARLIER)),
        (CLIENT, "o", verdict("api-key", "", issued_at=EARLIER)),
    ],
)
def test_what_was_issued_before_is_revoked(
    view: Revocations, revoking: Any, kind: str, subject: str, hit: Accepted
) -> None:
    assert view.trusts(hit)
    assert not view.revokes(hit)
    revoking(kind, subject)
    assert view.trusts(hit)
    view.refresh()
    assert not view.trusts(hit)
    assert view.revokes(hit)


@pytest.mark.parametrize(
    ("kind", "subject", "spared"),
    [
        (CLIENT, "c", verdict(issued_at=AT)),
        (CLIENT, "d", verdict(issued_at=EARLIER)),
        (CLIENT, "c", verdict(issuer=OTHER, issued_at=EARLIER)),
        (TOKEN, "j", verdict(issuer=OTHER, issued_at=EARLIER)),
        (CLIENT, foreign(OWN, "c"), verdict(issued_at=EARLIER)),
        (CLIENT, "c", verdict("api-key", "", issued_at=EARLIER)),
        (CLIENT, "c", verdict("run", "taxiway-runs", issued_at=EARLIER)),
    ],
)
def test_nobody_else_is_revoked(
    view: Revocations, revoking: Any, kind: str, subject: str, spared: Accepted
) -> None:
    revoking(kind, subject)
    view.refresh()
    assert view.trusts(spared)
    assert not view.revokes(spared)


def test_the_latest_of_several_revocations_counts(view: Revocations, revoking: Any) -> None:
    for before_at in (AT - timedelta(hours=1), AT, AT - timedelta(hours=2)):
        revoking(CLIENT, "c", before_at)
    view.refresh()
    assert view.revokes(verdict(issued_at=EARLIER))


def test_an_old_view_is_believed_of_nobody_of_ours(
    view: Revocations, revoking: Any, clock: FixedClock
) -> None:
    clock.advance(MAX_AGE_SECONDS + 0.1)
    ours, key = verdict(issued_at=EARLIER), verdict("api-key", "", issued_at=EARLIER)
    foreigner, run = verdict(issuer=OTHER), verdict("run", "taxiway-runs")
    assert [view.trusts(each) for each in (ours, key, foreigner, run)] == [False, False, True, True]
    assert not view.revokes(ours)
    revoking(CLIENT, "c")
    assert view.revokes(ours)  # asked afresh: nobody has refreshed the view


def test_without_a_database_an_old_view_says_nothing_of_ours_and_spares_others(clock: FixedClock) -> None:
    view = Quiet(database.connect(NOWHERE, "tests"), OWN, clock)
    with pytest.raises(database.Unavailable):
        view.revokes(verdict())
    assert not view.revokes(verdict(issuer=OTHER))
    assert not view.revokes(verdict("run", "taxiway-runs"))


def test_a_revocation_that_commits_late_is_seen(view: Revocations, gateway_engine: Engine) -> None:
    with gateway_engine.connect() as slow:
        revoke(slow, CLIENT, "c", AT)  # the lower id, committed last
        with database.transaction(gateway_engine) as quick:
            revoke(quick, CLIENT, "d", AT)
        view.refresh()
        assert not view.revokes(verdict(issued_at=EARLIER))
        slow.commit()
    view.refresh()
    assert view.revokes(verdict(issued_at=EARLIER))


def test_what_no_token_can_outlive_is_forgotten(gateway_engine: Engine, view: Revocations) -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    with database.transaction(gateway_engine) as connection:
        for subject, before_at in (("old", long_ago), ("for ever", datetime(9999, 1, 1, tzinfo=UTC))):
            revoke(connection, CLIENT, subject, before_at)
        connection.execute(
            text("UPDATE gateway.revocation SET created_at = :long_ago"), {"long_ago": long_ago}
        )
        revoke(connection, CLIENT, "young", long_ago)
        kept = connection.execute(text("SELECT subject FROM gateway.revocation ORDER BY id")).scalars().all()
    assert kept == ["for ever", "young"]


@pytest.mark.parametrize("change", ["UPDATE gateway.audit SET actor = 'x'", "DELETE FROM gateway.audit"])
def test_the_audit_is_append_only(gateway_engine: Engine, change: str) -> None:
    with database.transaction(gateway_engine) as connection:
        connection.execute(text("INSERT INTO gateway.audit (actor, action, subject) VALUES ('a', 'b', 'c')"))
    with (
        pytest.raises(DBAPIError, match="only ever added"),
        database.transaction(gateway_engine) as connection,
    ):
        connection.execute(text(change))
