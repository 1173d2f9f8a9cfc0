"""Requests are taken from Redis in lots: never more than the quota, and nobody is forgotten."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest

from common.clock import FixedClock
from common.principal import Principal
from gateway.counters import SPENT, Counted, Step
from gateway.quotas import HOUR_SECONDS, Quotas, Share
from gateway.relay import accounts
from gateway.relay.accounts import Accounts

CALLER = Principal(kind="client", subject="c", client_id="c", issuer="https://i")


class Redis:
    """Counts as COUNT does, in memory."""

    def __init__(self) -> None:
        self.used: dict[str, int] = {}
        self.steps: list[Step] = []
        self.is_away = False

    def count_all(self, steps: Sequence[Step]) -> list[Counted] | None:
        self.steps += steps
        return None if self.is_away else [self._count(step) for step in steps]

    def _count(self, step: Step) -> Counted:
        used = self.used.get(step.key, 0)
        granted = min(step.wanted, step.limit - used)
        if granted <= 0:
            return Counted(used=SPENT, granted=0)
        self.used[step.key] = used + granted
        return Counted(used=used + granted, granted=granted)


class World:
    """Accounts whose steps are done when a test says so."""

    def __init__(self, limit: int) -> None:
        self.redis, self.clock = Redis(), FixedClock()
        quotas = Quotas(self.redis, self.clock, {"client": limit})  # type: ignore[arg-type]
        self.pending: list[Any] = []
        self.accounts = Accounts(quotas, self.clock.timestamp, self._in_thread)
        self.shares: list[Share] = []

    def _in_thread(self, work: Any, steps: list[Step], then: Any) -> None:
        self.pending.append((work, steps, then))

    def take(self, times: int = 1) -> None:
        for _ in range(times):
            if share := self.accounts.take(CALLER, None):
                self.shares.append(share)
            else:
                self.accounts.wait(CALLER, None, self.shares.append)

    def answer(self) -> None:
        while self.pending:
            work, steps, then = self.pending.pop(0)
            done: Future[Any] = Future()
            done.set_result(work(steps))
            then(done)

    @property
    def remaining(self) -> list[int]:
        return [share.remaining for share in self.shares]


def test_a_small_quota_is_counted_one_by_one() -> None:
    world = World(limit=3)
    for _ in range(4):
        world.take()
        world.answer()
    assert world.remaining == [2, 1, 0, 0]
    assert [share.is_spent for share in world.shares] == [False, False, False, True]
    assert [step.wanted for step in world.redis.steps] == [1, 1, 1, 1]


def test_a_large_quota_is_counted_in_lots_of_a_thousandth() -> None:
    world = World(limit=10_000)
    world.take()
    world.answer()
    world.take(9)
    assert world.remaining == list(range(9_999, 9_989, -1))
    assert [step.wanted for step in world.redis.steps] == [10]


def test_who_waits_together_asks_once_and_is_answered_in_order() -> None:
    world = World(limit=5)
    world.take(4)
    assert len(world.pending) == 1
    world.answer()
    assert world.remaining == [4, 3, 2, 1]
    assert [step.wanted for step in world.redis.steps] == [1, 3]


def test_no_more_are_let_in_than_the_quota_has_however_many_wait() -> None:
    world = World(limit=5)
    world.take(9)
    world.answer()
    assert [share.is_spent for share in world.shares] == [False] * 5 + [True] * 4


def test_two_workers_never_grant_more_than_the_quota() -> None:
    first, second = World(limit=2500), World(limit=2500)
    second.redis.used = first.redis.used
    for _ in range(2000):
        for world in (first, second):
            world.take()
            world.answer()
    let_in = [share for share in (*first.shares, *second.shares) if not share.is_spent]
    assert len(let_in) == 2500


def test_without_redis_everyone_is_let_in_uncounted_and_nobody_waits_for_ever() -> None:
    world = World(limit=10)
    world.redis.is_away = True
    world.take(20)
    world.answer()
    assert {(share.remaining, share.is_spent) for share in world.shares} == {(10, False)}
    assert len(world.shares) == 20


def test_an_hour_ends_with_its_lot() -> None:
    world = World(limit=10_000)
    world.take()
    world.answer()
    world.clock.advance(HOUR_SECONDS)
    world.take()
    world.answer()
    assert len(world.redis.used) == 2
    assert world.shares[1].reset_at == world.shares[0].reset_at + HOUR_SECONDS


def test_who_comes_while_redis_is_asked_shares_the_next_round_trip() -> None:
    world = World(limit=3)
    others = [replace(CALLER, subject=name) for name in ("d", "e")]
    world.take()
    for caller in (*others, *others):
        world.accounts.wait(caller, None, world.shares.append)
    assert [len(steps) for _, steps, _ in world.pending] == [1]
    work, steps, then = world.pending.pop()
    done: Future[Any] = Future()
    done.set_result(work(steps))
    then(done)
    assert [[step.wanted for step in steps] for _, steps, _ in world.pending] == [[2, 2]]
    world.answer()
    assert world.remaining == [2, 2, 1, 2, 1]


@pytest.mark.parametrize(("own", "limit"), [(None, 3), (7, 7)])
def test_a_key_has_its_own_quota(own: int | None, limit: int) -> None:
    world = World(limit=3)
    world.accounts.wait(CALLER, own, world.shares.append)
    world.answer()
    assert world.shares[0].limit == limit


def test_no_more_accounts_are_kept_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "MOST_ACCOUNTS", 3)
    world = World(limit=5000)
    callers = [replace(CALLER, subject=str(number)) for number in range(5)]
    for caller in callers:
        world.accounts.wait(caller, None, world.shares.append)
        world.answer()
    assert [world.accounts.take(caller, None) is not None for caller in callers[2:]] == [True] * 3
    assert len(world.accounts._accounts) == 3
