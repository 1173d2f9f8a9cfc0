"""Sending and waiting: each event is received once, whatever comes first, and the run that waited goes on."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest

from common.database import transaction
from jobs.engine import family, fence, leases, memory, receipts, signals, sweeps
from jobs.engine.leases import Failure
from jobs.engine.receipts import Receipt
from jobs.engine.signals import KeyIsWaitedFor, Sent, Wait, Wish
from jobs.engine.states import Status
from jobs.engine.tables import Run

PAST = "now() - interval '1 h'"


def send(bench: Any, payload: Any = 1, key: str = "k", *, partner: str = "acme", keyed: bool = False) -> Sent:
    with transaction(bench.engine) as connection:
        return signals.send(connection, partner, key, payload, keyed=keyed)


def wait(bench: Any, run: Run, key: str = "k", **wish: Any) -> Wait | Receipt:
    with transaction(bench.engine) as connection:
        return signals.wait(connection, run.id, run.lease, Wish(key=key, **wish))


def payload(found: Wait | Receipt) -> Any:
    assert isinstance(found, Receipt)
    return found.payload


def claim(bench: Any, run: Run, claim_id: UUID | None = None) -> tuple[Run, Any]:
    """Take the run's next turn, as its view does; give the payload of the event that came with it."""
    bench.dequeue(run.pool, 1000)
    lease = bench.run(run.id).lease
    with transaction(bench.engine) as connection:
        claimed = leases.claim(connection, run.id, lease, claim_id or uuid4(), "executor-2")
        received = receipts.for_claim(connection, run.id, lease)
    return claimed, received and received.payload


def fail(bench: Any, run: Run) -> None:
    with transaction(bench.engine) as connection:
        leases.fail(connection, run.id, run.lease, Failure(error="e", retryable=True))


def retried(bench: Any, run: Run) -> Run:
    fail(bench, run)
    bench.execute("UPDATE run SET due_at = now()")
    return claim(bench, run)[0]


def in_line(bench: Any) -> list[Any]:
    return [
        row["payload"] for row in bench.execute("SELECT * FROM signal WHERE consumed_at IS NULL ORDER BY id")
    ]


def standing(bench: Any) -> int:
    return len(bench.execute("SELECT * FROM wait"))


# -- the event comes before, during, after ---------------------------------------------------------------


def test_an_event_sent_before_the_wait_is_received_at_once_and_the_run_goes_on(bench: Any) -> None:
    run = bench.claimed()
    send(bench, {"n": 1})
    assert payload(wait(bench, run)) == {"n": 1}
    assert (bench.run(run.id).status, standing(bench), in_line(bench)) == (Status.EXECUTING, 0, [])


def test_an_event_brings_the_run_that_waits_back_in_line_in_one_transaction(bench: Any) -> None:
    run = bench.claimed()
    found = wait(bench, run)
    assert isinstance(found, Wait)
    waiting = bench.run(run.id)
    assert (waiting.status, waiting.deadline_at, waiting.lease) == (Status.WAITING, None, 1)
    bench.execute(f"UPDATE run SET queued_at = {PAST}, due_at = {PAST}, expires_at = {PAST}")
    sent = send(bench, {"n": 1})
    assert sent.resumed is not None
    back = bench.run(run.id)
    assert (back.status, back.attempt, back.lease, back.claim_id) == (Status.QUEUED, 1, 1, None)
    assert back.queued_at == back.due_at > waiting.queued_at
    assert back.expires_at > waiting.expires_at
    assert (standing(bench), in_line(bench)) == (0, [])
    assert bench.statuses(run.id)[-3:] == ["executing", "waiting", "queued"]


def test_each_receipt_is_kept_as_a_checkpoint_of_the_run(bench: Any) -> None:
    run = bench.claimed()
    send(bench, "first")
    wait(bench, run)
    wait(bench, run)
    send(bench, "second")
    rows = bench.execute("SELECT * FROM checkpoint WHERE run_id = :id ORDER BY sequence", id=run.id)
    kept = [(row["sequence"], row["source"], row["state"], row["lease"]) for row in rows]
    assert kept == [(1, "event", "first", 1), (2, "event", "second", 1)]


def test_a_receipt_that_cannot_be_finished_leaves_everything_as_it_was(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bench.claimed()
    wait(bench, run)

    def refuse(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(memory, "save_checkpoint", refuse)
    with pytest.raises(RuntimeError):
        send(bench)
    assert (bench.run(run.id).status, standing(bench), in_line(bench)) == (Status.WAITING, 1, [])
    assert bench.execute("SELECT * FROM signal") == []


def test_only_the_next_claim_and_its_repeats_have_the_event(bench: Any) -> None:
    run, claim_id = bench.claimed(), uuid4()
    wait(bench, run)
    send(bench, "e")
    back, event = claim(bench, run, claim_id)
    assert (back.lease, event) == (2, "e")
    assert claim(bench, run, claim_id)[1] == "e"
    fail(bench, back)
    bench.execute("UPDATE run SET due_at = now()")
    assert claim(bench, run)[1] is None


def test_the_event_is_not_lost_with_a_turn_that_nobody_claims(bench: Any) -> None:
    run = bench.claimed()
    wait(bench, run)
    send(bench, "e")
    bench.dequeue()
    bench.execute("UPDATE run SET status = 'queued'")  # its turn was lost
    back, event = claim(bench, run)
    assert (back.lease, event) == (3, "e")


def test_a_claim_after_an_event_that_was_received_at_once_has_none(bench: Any) -> None:
    run = bench.claimed()
    send(bench)
    wait(bench, run)
    fail(bench, run)
    bench.execute("UPDATE run SET due_at = now()")
    assert claim(bench, run)[1] is None


def test_an_executor_of_before_the_wait_can_write_nothing_after_it(bench: Any) -> None:
    run = bench.claimed()
    wait(bench, run)
    send(bench)
    with transaction(bench.engine) as connection, pytest.raises(fence.RunIsNotExecuting):
        leases.heartbeat(connection, run.id, run.lease)
    claim(bench, run)
    with transaction(bench.engine) as connection, pytest.raises(fence.LeaseIsStale):
        leases.heartbeat(connection, run.id, run.lease)
    with pytest.raises(fence.LeaseIsStale):
        wait(bench, run)


def test_a_run_that_waits_is_neither_reaped_nor_out_of_time(bench: Any) -> None:
    run = bench.claimed()
    wait(bench, run)
    bench.execute(f"UPDATE run SET heartbeat_at = {PAST}, started_at = {PAST}")
    with transaction(bench.engine) as connection:
        assert sweeps.reap(connection, 60) == []
        assert sweeps.time_out(connection, 60) == []
        assert sweeps.end_waits(connection) == []


# -- the line of a key -----------------------------------------------------------------------------------


def test_sends_of_a_key_are_received_in_their_order_each_by_one_wait(bench: Any) -> None:
    runs = [bench.claimed() for _ in range(2)]
    for number in range(4):
        send(bench, number)
    assert [payload(wait(bench, runs[number % 2])) for number in range(4)] == [0, 1, 2, 3]


def test_a_prefix_of_a_key_and_the_key_of_another_partner_are_other_keys(bench: Any) -> None:
    run = bench.claimed()
    send(bench, 1, "k:1")
    send(bench, 2, "K")
    send(bench, 3, "k", partner="other")
    assert isinstance(wait(bench, run), Wait)
    assert in_line(bench) == [1, 2, 3]
    assert send(bench, 4).resumed is not None


def test_an_event_equal_to_the_newest_in_line_is_the_same_unless_it_is_keyed(bench: Any) -> None:
    first = send(bench, {"a": 1, "b": [None]})
    assert send(bench, {"b": [None], "a": 1}).id == first.id
    assert send(bench, {"a": 1, "b": [None]}, keyed=True).id != first.id
    assert len(in_line(bench)) == 2
    send(bench, None)
    send(bench, None)
    send(bench, {"a": 1, "b": [None]})  # not the newest any more
    assert len(in_line(bench)) == 4


def test_an_event_equal_to_a_consumed_one_is_another(bench: Any) -> None:
    run = bench.claimed()
    send(bench)
    wait(bench, run)
    assert in_line(bench) == []
    send(bench)
    assert in_line(bench) == [1]


def test_a_key_that_another_run_waits_for_is_refused_until_it_has_its_event(bench: Any) -> None:
    first, second = bench.claimed(), bench.claimed()
    wait(bench, first)
    with pytest.raises(KeyIsWaitedFor):
        wait(bench, second)
    assert bench.run(second.id).status is Status.EXECUTING
    send(bench)
    assert isinstance(wait(bench, second), Wait)
    assert isinstance(wait(bench, bench.claimed(partner="other")), Wait)


def test_events_are_forgotten_after_seven_days_but_not_what_a_live_run_received(bench: Any) -> None:
    live, done = bench.claimed(), bench.claimed()
    for number, run in enumerate((live, done)):
        send(bench, number)
        wait(bench, run)
    with transaction(bench.engine) as connection:
        leases.complete(connection, done.id, done.lease)
    send(bench, 2)
    bench.execute("UPDATE signal SET created_at = now() - interval '7 days 1 minute'")
    send(bench, 3)
    with transaction(bench.engine) as connection:
        signals.forget_old(connection)
    assert [row["payload"] for row in bench.execute("SELECT * FROM signal ORDER BY id")] == [0, 3]
    assert payload(wait(bench, retried(bench, live))) == 0


# -- waiting again ---------------------------------------------------------------------------------------


def test_a_wait_repeated_while_it_stands_is_the_same_and_another_one_is_refused(bench: Any) -> None:
    run = bench.claimed()
    assert wait(bench, run) == wait(bench, run, timeout_seconds=5)
    with pytest.raises(fence.RunIsNotExecuting):
        wait(bench, run, "other")
    assert standing(bench) == 1


def test_a_later_lease_gets_again_what_the_run_received_once_and_in_its_order(bench: Any) -> None:
    run = bench.claimed()
    for number in (1, 2):
        send(bench, number)
        wait(bench, run)
    send(bench, 3)
    second = retried(bench, run)
    assert [payload(wait(bench, second)) for _ in range(3)] == [1, 2, 3]
    assert isinstance(wait(bench, second), Wait)
    send(bench, 4)
    third, event = claim(bench, run)
    assert event == 4
    assert [payload(wait(bench, third)) for _ in range(4)] == [1, 2, 3, 4]
    assert isinstance(wait(bench, third), Wait)


def test_code_that_is_run_again_after_its_wait_does_not_hang(bench: Any) -> None:
    run = bench.claimed()
    begun = wait(bench, run)
    assert isinstance(begun, Wait)
    send(bench, "e")
    back, event = claim(bench, run)
    again = wait(bench, back)
    assert isinstance(again, Receipt)
    assert (event, again.payload, again.trigger_id) == ("e", "e", begun.id)
    assert bench.run(run.id).status is Status.EXECUTING


def test_what_one_run_received_is_not_given_again_to_another(bench: Any) -> None:
    first, second = bench.claimed(), bench.claimed()
    send(bench)
    wait(bench, first)
    assert isinstance(wait(bench, second), Wait)
    assert payload(wait(bench, retried(bench, first))) == 1  # though another one waits for the key by now


# -- caller runs -----------------------------------------------------------------------------------------


def caller_run(bench: Any) -> Run:
    run: Run = bench.submit(caller=True, timeout_seconds=600)
    return run


def test_a_callers_run_goes_on_under_its_lease_with_a_fresh_deadline(bench: Any) -> None:
    run = caller_run(bench)
    wait(bench, run)
    bench.execute(f"UPDATE run SET heartbeat_at = {PAST}")
    sent = send(bench, "e")
    assert sent.resumed is not None
    back = bench.run(run.id)
    assert (back.status, back.lease) == (Status.EXECUTING, 1)
    assert back.heartbeat_at is not None
    assert back.deadline_at is not None
    assert (back.deadline_at - back.heartbeat_at).total_seconds() == 600
    with transaction(bench.engine) as connection:
        assert sweeps.reap(connection, 60) == []
    bench.execute(f"UPDATE run SET heartbeat_at = {PAST}")
    with transaction(bench.engine) as connection:
        [lost] = sweeps.reap(connection, 60)
    assert lost.status is Status.CRASHED


def test_a_callers_run_hears_of_its_event_until_it_repeats_the_wait_or_begins_another(bench: Any) -> None:
    run = caller_run(bench)

    def heard() -> Any:
        with transaction(bench.engine) as connection:
            found = receipts.for_heartbeat(connection, run.id)
        return found and found.payload

    wait(bench, run)
    assert heard() is None
    send(bench, "e")
    assert (heard(), heard()) == ("e", "e")
    assert payload(wait(bench, run)) == "e"
    assert heard() is None
    wait(bench, run)
    send(bench, "f")
    assert heard() == "f"
    wait(bench, run, "other")
    assert heard() is None
    send(bench, "g", "other")
    assert heard() == "g"


# -- ends of a wait --------------------------------------------------------------------------------------


def complete(bench: Any, run: Run) -> None:
    with transaction(bench.engine) as connection:
        leases.complete(connection, run.id, run.lease)


def cancel(bench: Any, run: Run) -> None:
    with transaction(bench.engine) as connection:
        family.request_cancel(connection, run.id)


def time_out(bench: Any, run: Run) -> None:
    bench.execute(f"UPDATE wait SET expires_at = {PAST}")
    with transaction(bench.engine) as connection:
        sweeps.end_waits(connection)


@pytest.mark.parametrize("leave", [complete, fail, cancel, time_out])
def test_a_run_that_stops_waiting_leaves_the_key_to_others_and_the_event_in_line(
    bench: Any, leave: Callable[[Any, Run], None]
) -> None:
    run = bench.claimed()
    wait(bench, run)
    leave(bench, run)
    assert standing(bench) == 0
    assert send(bench, "late").resumed is None
    assert in_line(bench) == ["late"]
    assert payload(wait(bench, bench.claimed())) == "late"


def test_a_wait_past_its_time_ends_the_run_as_timed_out(bench: Any) -> None:
    overdue, patient = bench.claimed(), bench.claimed()
    wait(bench, overdue, "a", timeout_seconds=60)
    wait(bench, patient, "b")
    bench.execute("UPDATE wait SET expires_at = expires_at - interval '60 s'")
    with transaction(bench.engine) as connection:
        [ended] = sweeps.end_waits(connection)
    assert (ended.id, ended.status, ended.ended_by) == (overdue.id, Status.TIMED_OUT, "wait")
    assert (ended.error, ended.error_class) == ("The event did not come in time", "timeout")
    assert bench.run(patient.id).status is Status.WAITING
    assert [row["reference"]["run"] for row in bench.deliveries()] == [str(overdue.id)]


def test_a_run_that_waits_for_something_else_is_not_touched_by_the_sweep_of_waits(bench: Any) -> None:
    run = bench.claimed()
    bench.execute(f"UPDATE run SET status = 'waiting', awaits_run_id = id, deadline_at = {PAST}")
    with transaction(bench.engine) as connection:
        assert sweeps.end_waits(connection) == []
    with pytest.raises(fence.RunIsNotExecuting):
        wait(bench, run)


@pytest.mark.parametrize(("status", "refusal"), [("queued", "not executing"), ("dequeued", "not executing")])
def test_a_run_that_is_not_executing_cannot_wait(bench: Any, status: str, refusal: str) -> None:
    run = bench.claimed()
    bench.execute("UPDATE run SET status = :status", status=status)
    with pytest.raises(fence.RunIsNotExecuting, match=refusal):
        wait(bench, run)
    assert standing(bench) == 0


# -- notices ---------------------------------------------------------------------------------------------


def test_a_wait_with_a_url_records_one_notice_to_be_sent(bench: Any) -> None:
    run = bench.claimed()
    begun = wait(bench, run, notify_url="https://a.example/hook")
    assert isinstance(begun, Wait)
    wait(bench, run, notify_url="https://a.example/hook")
    [delivery] = bench.deliveries()
    expires_at = begun.expires_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert (delivery["kind"], delivery["reference"]) == (
        "notify",
        {
            "run": str(run.id),
            "event_key": "k",
            "trigger_id": str(begun.id),
            "url": "https://a.example/hook",
            "expires_at": expires_at,
        },
    )


def test_a_wait_that_need_not_begin_or_is_refused_notifies_nobody(bench: Any) -> None:
    first, second = bench.claimed(), bench.claimed()
    send(bench)
    wait(bench, first, notify_url="https://a.example")
    wait(bench, first)
    with pytest.raises(KeyIsWaitedFor):
        wait(bench, second, notify_url="https://a.example")
    assert bench.deliveries() == []


# -- at the same time ------------------------------------------------------------------------------------

ROUNDS = 40


@contextmanager
def together(count: int) -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """Run calls on threads that begin at one moment."""
    barrier = threading.Barrier(count)

    with ThreadPoolExecutor(count) as pool:

        def begin(work: Callable[[], Any]) -> Any:
            def at_once() -> Any:
                barrier.wait(timeout=30)
                return work()

            return pool.submit(at_once)

        yield begin


def test_a_send_and_a_wait_at_the_same_moment_never_miss_each_other(bench: Any) -> None:
    met: Counter[str] = Counter()
    for number in range(ROUNDS):
        run, key = bench.claimed(), f"k{number}"
        with together(2) as begin:
            sending = begin(partial(send, bench, number, key))
            waiting = begin(partial(wait, bench, run, key))
        sent, found = sending.result(), waiting.result()
        status = bench.run(run.id).status
        if isinstance(found, Receipt):
            assert (found.payload, sent.resumed, status) == (number, None, Status.EXECUTING)
        else:
            assert (sent.resumed is not None, status) == (True, Status.QUEUED)
            assert claim(bench, run)[1] == number
        met[type(found).__name__] += 1
        complete(bench, bench.run(run.id))
    assert (in_line(bench), standing(bench)) == ([], 0)
    assert met.total() == ROUNDS


def receive(bench: Any, run: Run) -> list[Any]:
    """Receive events of one key until the run waits."""
    got: list[Any] = []
    for _ in range(10):
        with suppress(KeyIsWaitedFor):
            found = wait(bench, run)
            if isinstance(found, Wait):
                break
            got.append(found.payload)
    return got


def send_twenty(bench: Any, first: int) -> None:
    for number in range(first, first + 20):
        send(bench, number, keyed=True)


def test_many_senders_and_waiters_of_one_key_lose_and_double_nothing(bench: Any) -> None:
    runs = [bench.claimed() for _ in range(4)]
    with together(6) as begin:
        sending = [begin(partial(send_twenty, bench, first)) for first in (0, 100)]
        receiving = [begin(partial(receive, bench, run)) for run in runs]
    assert [each.result() for each in sending] == [None, None]
    got = [payload for each in receiving for payload in each.result()]
    others = bench.execute("SELECT payload FROM signal WHERE answered_lease IS NULL")
    assert sorted([*got, *(row["payload"] for row in others)]) == [*range(20), *range(100, 120)]
    kept = bench.execute("SELECT state FROM checkpoint")
    consumed = bench.execute("SELECT payload FROM signal WHERE consumed_at IS NOT NULL")
    assert sorted(row["state"] for row in kept) == sorted(row["payload"] for row in consumed)
    assert not (standing(bench) and in_line(bench))


def test_a_send_and_a_cancel_at_the_same_moment_lose_no_event(bench: Any) -> None:
    for number in range(ROUNDS):
        run, key = bench.claimed(), f"k{number}"
        wait(bench, run, key)
        with together(2) as begin:
            sending = begin(partial(send, bench, 1, key))
            canceling = begin(partial(cancel, bench, run))
        sent, _ = sending.result(), canceling.result()
        assert bench.run(run.id).status is Status.CANCELED
        assert standing(bench) == 0
        assert len(in_line(bench)) == (0 if sent.resumed else 1)
        bench.execute("DELETE FROM signal WHERE consumed_at IS NULL")
