"""Quotas and failures, counted in a real Redis, and what holds while it is away."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis, RedisError

from common.principal import Principal
from gateway import counters as counting
from gateway.counters import SPENT, Counted, Counters, Step
from gateway.quotas import Failures

CLIENT = Principal(kind="client", subject="a", issuer="https://login.example/x")


@pytest.fixture
def redis(servers: Any) -> Iterator["Redis"]:
    with Redis.from_url(servers.redis_url("admin"), decode_responses=True) as client:
        yield client


def test_each_request_takes_one_from_the_hour_until_it_is_spent(counted: Any) -> None:
    shares = [counted.quotas.take(CLIENT) for _ in range(5)]
    assert [(share.remaining, share.is_spent) for share in shares] == [
        (2, False),
        (1, False),
        (0, False),
        (0, True),
        (0, True),
    ]
    assert {share.limit for share in shares} == {3}


def test_a_share_says_when_the_hour_ends(counted: Any, door: Any) -> None:
    door.clock.advance(100)
    assert counted.quotas.take(CLIENT).headers == [
        ("X-RateLimit-Limit", "3"),
        ("X-RateLimit-Remaining", "2"),
        ("X-RateLimit-Reset", str(door.now - 100 + 3600)),
    ]


def test_a_new_hour_is_a_new_quota(counted: Any, door: Any) -> None:
    for _ in range(4):
        counted.quotas.take(CLIENT)
    door.clock.advance(3600)
    assert counted.quotas.take(CLIENT).remaining == 2


@pytest.mark.parametrize(
    "other",
    [
        Principal(kind="client", subject="b", issuer=CLIENT.issuer),
        Principal(kind="client", subject="a", issuer="https://login.example"),
        Principal(kind="client", subject="x:a", issuer="https://login.example/"),
        Principal(kind="api-key", subject="a", issuer=CLIENT.issuer),
    ],
)
def test_principals_do_not_share(counted: Any, other: Principal) -> None:
    for _ in range(3):
        counted.quotas.take(CLIENT)
    assert counted.quotas.take(other).remaining == 2


def test_runs_have_a_quota_of_their_own(counted: Any) -> None:
    assert counted.quotas.take(Principal(kind="run", subject="r")).limit == 50


def test_a_principal_may_have_its_own_limit(counted: Any) -> None:
    shares = [counted.quotas.take(CLIENT, 1) for _ in range(2)]
    assert [(share.limit, share.is_spent) for share in shares] == [(1, False), (1, True)]


def test_refused_requests_cost_nothing(counted: Any) -> None:
    for _ in range(9):
        counted.quotas.take(CLIENT)
    assert counted.quotas.take(CLIENT, 5).remaining == 1


def test_threads_take_exactly_as_many_as_there_are(counted: Any) -> None:
    shares: list[Any] = []

    def work() -> None:
        shares.extend([counted.quotas.take(CLIENT, 100) for _ in range(20)])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(not share.is_spent for share in shares) == 100
    assert sorted(share.remaining for share in shares if not share.is_spent) == list(range(100))


def test_several_steps_are_taken_in_one_round_trip_each_for_itself(counted: Any, redis: Any) -> None:
    names = [("a", 5, 2), ("b", 1, 2), ("a", 5, 9), ("a", 5, 1)]
    steps = [
        Step(key=f"gateway:{key}", limit=limit, kept_seconds=9, wanted=wanted) for key, limit, wanted in names
    ]
    taken = counted.quotas.count_all(
        [*steps, Step(key="gateway:c", limit=1, kept_seconds=9, used_key=(7, "12"))]
    )
    assert [(each.used, each.granted) for each in taken] == [(2, 2), (1, 1), (5, 3), (SPENT, 0), (1, 1)]
    assert redis.zrange("gateway:keys-used", 0, -1, withscores=True) == [("12", 7.0)]


def test_every_count_expires(counted: Any, redis: Any) -> None:
    counted.quotas.take(CLIENT)
    counted.failures.note("203.0.113.9")
    keys = list(redis.scan_iter("*"))
    assert len(keys) == 2
    assert all(key.startswith("gateway:") and 0 < redis.ttl(key) <= 7200 for key in keys)


def test_an_address_is_barred_after_its_failures_until_the_window_ends(counted: Any, door: Any) -> None:
    failures = counted.failures
    door.clock.advance(60)
    waits = [failures.note("203.0.113.9") for _ in range(4)]
    assert waits == [0, 0, 0, 540]
    assert failures.barred_seconds("203.0.113.9") == 540
    assert failures.barred_seconds("203.0.113.8") == 0
    door.clock.advance(540)
    assert failures.barred_seconds("203.0.113.9") == 0
    failures.note("203.0.113.9")
    assert failures.barred_seconds("203.0.113.9") == 0


def test_workers_count_failures_together(counted: Any, door: Any, servers: Any) -> None:
    other = Failures(Counters.from_url(servers.redis_url("gateway")), door.clock, limit=3)
    for failures in (counted.failures, other, counted.failures, other):
        failures.note("203.0.113.9")
    assert counted.failures.barred_seconds("203.0.113.9") > 0
    assert other.barred_seconds("203.0.113.9") > 0


class Broken:
    """A Redis whose script fails as long as it is told to; notes how often it is asked."""

    def __init__(self) -> None:
        self.is_away = True
        self.asked = 0

    def register_script(self, _: str) -> Any:
        return self.run

    def run(self, *_: Any) -> list[list[int]]:
        self.asked += 1
        if self.is_away:
            raise RedisError("away")
        return [[1, 1]]


STEP = Step(key="gateway:x", limit=1, kept_seconds=1)


def test_after_a_failure_nobody_asks_for_a_second_and_then_one() -> None:
    redis, now = Broken(), [0.0]
    counters = Counters(redis, lambda: now[0])  # type: ignore[arg-type]
    assert [counters.count(STEP) for _ in range(5)] == [None] * 5
    assert redis.asked == 1
    now[0] = 1.1
    assert [counters.count(STEP) for _ in range(5)] == [None] * 5
    assert redis.asked == 2
    now[0], redis.is_away = 2.2, False
    assert [counters.count(STEP) for _ in range(5)] == [Counted(used=1, granted=1)] * 5


def test_what_was_not_counted_is_in_the_metrics() -> None:
    before = counting.UNCOUNTED._value.get()
    counters = Counters(Broken())  # type: ignore[arg-type]
    for _ in range(3):
        counters.count(STEP)
    assert counting.UNCOUNTED._value.get() == before + 3


def test_an_outage_is_logged_once(capsys: Any) -> None:
    redis, now = Broken(), [0.0]
    counters = Counters(redis, lambda: now[0])  # type: ignore[arg-type]
    for second in range(5):
        now[0] = second * 1.1
        counters.count(STEP)
    redis.is_away = False
    now[0] = 9.0
    counters.count(STEP)
    log = capsys.readouterr().out
    assert (log.count("redis_away"), log.count("redis_back")) == (1, 1)


def test_without_redis_requests_pass_with_their_whole_quota(nothing_counted: Any) -> None:
    share = nothing_counted.quotas.take(CLIENT)
    assert (share.limit, share.remaining, share.is_spent) == (3, 3, False)
    for _ in range(9):
        nothing_counted.failures.note("203.0.113.9")
    assert nothing_counted.failures.barred_seconds("203.0.113.9") == 0


def test_counts_survive_a_server_that_was_killed_and_forgot_them(
    counted: Any, servers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "PAUSE_SECONDS", 0.05)
    assert counted.quotas.take(CLIENT).remaining == 2
    servers.valkey.kill()
    assert counted.quotas.take(CLIENT).remaining == 3
    servers.valkey.restart()
    servers.flush_redis()  # the script too is forgotten
    deadline = time.monotonic() + 20
    while counted.quotas.take(CLIENT).remaining == 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert counted.quotas.take(CLIENT).remaining == 1
