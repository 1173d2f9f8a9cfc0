"""Turns: fairness, priority, the window, concurrency keys, and what happens when Redis forgets."""

import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from redis import Redis

from common.database import transaction, try_lock
from jobs.engine import leases, turns
from jobs.engine.states import Status
from jobs.engine.turns import Comparison, Given

FILL = """
    INSERT INTO job (uid, partner, kind, spec)
    SELECT gen_random_uuid(), :partner, 'bundle', '{}' FROM generate_series(1, :count)
"""
ENQUEUE = """
    INSERT INTO run (id, job_id, partner, pool, status, holds_job, event_seq, max_attempts, priority, payload,
        inputs, timeout_seconds, queued_at, expires_at, triggered_by, created_by)
    SELECT gen_random_uuid(), uid, partner, 'default', 'queued', true, 1, 3, 5, '{}', '{}', 60, now(),
        now() + interval '1 day', 'api', 'test' FROM job WHERE partner = :partner
"""


def fill(bench: Any, partner: str, count: int) -> None:
    bench.execute(FILL, partner=partner, count=count)
    bench.execute(ENQUEUE, partner=partner)


def compare(bench: Any, before: Comparison | None = None) -> Comparison:
    """Compare as the dispatcher does: the lists first, then the transaction, then the sweep."""
    lists = turns.listed(bench.redis)
    with transaction(bench.engine) as connection:
        found = turns.compare(connection, lists, before.absent if before else frozenset())
    turns.sweep(bench.redis, found.stale)
    return found


def entries(bench: Any, pool: str = "default") -> list[Given]:
    read = [json.loads(entry) for entry in bench.redis.lrange(f"jobs:line:{pool}", 0, -1)]
    return [Given(run=turn["run"], lease=turn["lease"]) for turn in read]


def test_one_job_of_one_partner_does_not_wait_for_a_thousand_of_another(bench: Any) -> None:
    fill(bench, "big", 1000)
    only = bench.submit("small")
    first = bench.dequeue()
    assert len(first) == 8
    assert only.id in [run.id for run in first[:2]]
    assert Counter(run.partner for run in first) == {"big": 7, "small": 1}


def test_partners_take_turns_by_what_they_have_under_way(bench: Any) -> None:
    for partner in ("a", "b", "c"):
        fill(bench, partner, 20)
    assert Counter(run.partner for run in bench.dequeue(places=9)) == {"a": 3, "b": 3, "c": 3}
    fill(bench, "d", 20)
    assert Counter(run.partner for run in bench.dequeue(places=12)) == {"d": 3}


def test_priority_orders_a_partners_own_runs_and_age_those_of_equal_priority(bench: Any) -> None:
    low, older, younger, high = [bench.submit(priority=priority) for priority in (1, 5, 5, 9)]
    assert [run.id for run in bench.dequeue()] == [high.id, older.id, younger.id, low.id]


def test_priority_does_not_pass_over_other_partners(bench: Any) -> None:
    for _ in range(5):
        bench.submit("loud", priority=10)
    quiet = bench.submit("quiet", priority=0)
    assert quiet.id in [run.id for run in bench.dequeue(places=2)]


def test_the_window_counts_turns_not_yet_claimed(bench: Any) -> None:
    fill(bench, "a", 20)
    assert len(bench.dequeue(places=8)) == 8
    assert bench.dequeue(places=8) == []
    assert len(bench.dequeue(places=10)) == 2


def test_pools_have_windows_of_their_own(bench: Any) -> None:
    bench.submit(pool="a")
    bench.submit(pool="b")
    with transaction(bench.engine) as connection:
        assert turns.pools(connection) == ["a", "b"]
    assert [run.pool for run in bench.dequeue("b")] == ["b"]


def test_the_window_grows_with_the_executors() -> None:
    assert [turns.window(count) for count in (0, 4, 5, 100)] == [8, 8, 10, 200]


def test_no_more_runs_of_a_concurrency_key_than_its_limit_have_a_turn(bench: Any) -> None:
    for _ in range(10):
        bench.submit(concurrency_key="ods", concurrency_limit=2)
    free = bench.submit()
    given = bench.dequeue()
    assert len([run for run in given if run.concurrency_key]) == 2
    assert free.id in [run.id for run in given]
    one = next(run for run in given if run.concurrency_key)
    bench.execute("UPDATE run SET finished_at = now(), holds_job = false, status = 'failed' WHERE id = :id",
                  id=one.id)  # fmt: skip
    assert len(bench.dequeue()) == 1


def test_a_blocked_key_does_not_hold_up_its_partners_other_runs(bench: Any) -> None:
    for _ in range(30):
        bench.submit(concurrency_key="k", priority=9)
    other = bench.submit(priority=0)
    assert other.id in [run.id for run in bench.dequeue()]
    assert bench.dequeue() == []


def test_keys_of_different_partners_do_not_touch(bench: Any) -> None:
    bench.submit("a", concurrency_key="k")
    bench.submit("b", concurrency_key="k")
    assert len(bench.dequeue()) == 2


def test_runs_not_yet_due_or_expired_get_no_turn(bench: Any) -> None:
    delayed, retrying, expired = bench.submit(delay_seconds=60), bench.submit(), bench.submit()
    bench.execute("UPDATE run SET due_at = now() + interval '5 s' WHERE id = :id", id=retrying.id)
    bench.execute("UPDATE run SET expires_at = now() WHERE id = :id", id=expired.id)
    assert bench.run(delayed.id).status is Status.DELAYED
    assert bench.dequeue() == []


def test_several_dispatchers_at_once_give_no_turn_twice(bench: Any) -> None:
    fill(bench, "a", 60)
    fill(bench, "b", 60)
    together = threading.Barrier(6)

    def dispatch(_: int) -> list[Any]:
        given = []
        together.wait(timeout=10)
        for places in range(10, 130, 10):
            with transaction(bench.engine) as connection:
                if try_lock(connection, "jobs", "line"):
                    given += turns.dequeue(connection, "default", places)
        return given

    with ThreadPoolExecutor(6) as threads:
        given = [run for runs in threads.map(dispatch, range(6)) for run in runs]
    assert len({run.id for run in given}) == len(given)
    assert len(given) == bench.execute("SELECT count(*) AS n FROM run WHERE status = 'dequeued'")[0]["n"]
    assert all(run.lease == 1 for run in given)


def test_even_without_the_lock_a_turn_is_given_once(bench: Any) -> None:
    fill(bench, "a", 40)
    together = threading.Barrier(4)

    def dispatch(_: int) -> list[Any]:
        together.wait(timeout=10)
        return list(bench.dequeue(places=40))

    with ThreadPoolExecutor(4) as threads:
        given = [run for runs in threads.map(dispatch, range(4)) for run in runs]
    assert len({run.id for run in given}) == len(given) == 40
    assert all(run.lease == 1 for run in given)


def test_a_pushed_turn_holds_a_ticket_and_stands_in_its_pools_list(bench: Any) -> None:
    bench.submit(pool="big", traceparent="00-abc-def-01")
    given = bench.dequeue("big")
    turns.push(bench.redis, bench.signer, given)
    turn = json.loads(bench.redis.lpop("jobs:line:big"))
    assert turn.keys() == {"v", "run", "lease", "ticket", "traceparent"}
    assert (turn["traceparent"], turn["ticket"].count(".")) == ("00-abc-def-01", 2)


def test_a_turn_that_redis_forgot_comes_back_after_two_comparisons(bench: Any, servers: Any) -> None:
    run = bench.submit()
    turns.push(bench.redis, bench.signer, bench.dequeue())
    assert compare(bench).absent == frozenset()
    servers.flush_redis()
    first = compare(bench)
    assert (len(first.absent), first.moved) == (1, [])
    second = compare(bench, first)
    assert [moved.id for moved in second.moved] == [run.id]
    assert (bench.run(run.id).status, bench.run(run.id).turns_lost) == (Status.QUEUED, 1)
    assert [given.lease for given in bench.dequeue()] == [2]


def test_a_push_that_was_lost_is_found(bench: Any) -> None:
    run = bench.submit()
    bench.dequeue()
    compare(bench, compare(bench))
    assert bench.run(run.id).status is Status.QUEUED


def test_a_turn_in_redis_stays_however_often_it_is_compared(bench: Any) -> None:
    run = bench.submit()
    turns.push(bench.redis, bench.signer, bench.dequeue())
    found = compare(bench)
    for _ in range(5):
        found = compare(bench, found)
    assert (bench.run(run.id).status, len(entries(bench))) == (Status.DEQUEUED, 1)


def test_a_deep_line_does_not_push_itself_again(bench: Any) -> None:
    fill(bench, "a", 300)
    found = compare(bench)
    for _ in range(6):
        turns.push(bench.redis, bench.signer, bench.dequeue())
        found = compare(bench, found)
    assert len(entries(bench)) == 8


def test_a_turn_between_pop_and_claim_is_not_taken_back_at_once(bench: Any) -> None:
    run = bench.submit()
    turns.push(bench.redis, bench.signer, bench.dequeue())
    bench.redis.lpop("jobs:line:default")
    found = compare(bench)
    with transaction(bench.engine) as connection:
        leases.claim(connection, run.id, 1, run.id, "executor-1")
    assert compare(bench, found).moved == []
    assert bench.run(run.id).status is Status.EXECUTING


def test_a_ticket_near_its_end_is_renewed_and_its_old_entry_swept(bench: Any) -> None:
    run = bench.submit()
    turns.push(bench.redis, bench.signer, bench.dequeue())
    bench.execute("UPDATE run SET pushed_at = now() - interval '55 minutes' WHERE id = :id", id=run.id)
    assert [moved.id for moved in compare(bench).moved] == [run.id]
    assert bench.run(run.id).turns_lost == 0
    turns.push(bench.redis, bench.signer, bench.dequeue())
    compare(bench)
    assert [entry.lease for entry in entries(bench)] == [2]


def test_entries_that_nobody_can_use_are_swept(bench: Any) -> None:
    bench.submit()
    turns.push(bench.redis, bench.signer, bench.dequeue())
    raw = Redis.from_url(bench.redis_url)
    raw.rpush("jobs:line:default", b"not json", b"{}", b"[]", b"\xff\xfe", b'{"run": 5, "lease": "x"}')
    raw.rpush("jobs:line:other", b'{"run": "00000000-0000-7000-8000-000000000000", "lease": 1}')
    raw.close()
    compare(bench)
    assert len(entries(bench)) == 1
    assert bench.redis.exists("jobs:line:other") == 0


def test_turns_lost_again_and_again_come_ever_later(bench: Any) -> None:
    run = bench.submit()
    bench.dequeue()
    compare(bench, compare(bench))
    assert [given.id for given in bench.dequeue()] == [run.id]  # after the first loss at once
    compare(bench, compare(bench))
    assert bench.dequeue() == []
    assert bench.run(run.id).status is Status.QUEUED


def test_a_run_whose_turns_are_lost_for_ever_is_given_up(bench: Any) -> None:
    run = bench.submit()
    bench.dequeue()
    bench.execute("UPDATE run SET turns_lost = :n WHERE id = :id", n=turns.MOST_TURNS_LOST, id=run.id)
    compare(bench, compare(bench))
    ended = bench.run(run.id)
    assert (ended.status, ended.holds_job, len(bench.deliveries())) == (Status.SYSTEM_FAILED, False, 1)


def test_executors_are_counted_by_pool(bench: Any) -> None:
    for name in ("default:a", "default:b:c", "big:a"):
        bench.redis.set(f"jobs:executor:{name}", 1, ex=30)
    assert turns.executors(bench.redis) == {"default": 2, "big": 1}
