"""Any order of claims, losses, retries, events, cancellations and sweeps, against a model of what must come
of it.

The statements run on PostgreSQL; Redis is a list that forgets; time moves by shifting timestamps in rows.
`TAXIWAY_INTERLEAVINGS` asks for more examples than the few that every test run makes.
"""

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID, uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from common.database import transaction
from jobs.engine import family, fence, journal, leases, line, receipts, signals, sweeps, turns
from jobs.engine.journal import Entry, Progress
from jobs.engine.leases import Failure
from jobs.engine.line import JobInProgress
from jobs.engine.memory import CHECKPOINTS_KEPT
from jobs.engine.receipts import Receipt
from jobs.engine.signals import KeyIsWaitedFor, Wait, Wish
from jobs.engine.states import FINAL, LEASED, Status
from jobs.engine.tables import RUN_COLUMNS, runs_of_rows
from jobs.engine.turns import Given

EXAMPLES = int(os.environ.get("TAXIWAY_INTERLEAVINGS", "15"))
STEPS = 50
LOSSES = [0, turns.MOST_TURNS_LOST - 1, turns.MOST_TURNS_LOST]
SLOW = {"initial_delay_secs": 3600, "max_delay_secs": 7200}  # a retry is due when a rule says so
POOL = "default"
ANY = st.integers(0, 10**6)
SELDOM = st.sampled_from([False, False, False, True])  # an end ends what may still happen to a run
KEYS = st.sampled_from([None, None, "k"])
PARTNERS = st.sampled_from("abc")
EVENT_KEYS = st.sampled_from(["e", "e", "e:2"])
NOTICED_BY = {"heartbeat_at": "reap", "deadline_at": "time_out", "cancel_requested_at": "cancel_by_force"}
DUTIES = ("wake", "expire", "reap", "time_out", "end_waits", "cancel_by_force", "compare")
WAYS_TO_AN_END = {
    (Status.COMPLETED, "complete"),
    (Status.FAILED, "fail"),
    (Status.DEAD_LETTER, "fail"),
    (Status.CANCELED, "fail"),
    (Status.CANCELED, "cancel"),
    (Status.CRASHED, "silence"),
    (Status.TIMED_OUT, "time"),
    (Status.TIMED_OUT, "wait"),
    (Status.EXPIRED, "line"),
    (Status.SYSTEM_FAILED, "turns"),
}


@dataclass
class Event:
    """What an event must be: in line, or received by one run."""

    partner: str
    key: str
    payload: int
    receiver: UUID | None = None
    answered: int = 0  # the last lease whose wait was answered with it
    claimed: int | None = None  # the lease whose claim had it


@dataclass
class Model:
    """What a run must be."""

    job: UUID
    partner: str
    status: Status
    max_attempts: int
    key: str | None
    caller: bool = False
    lease: int = 0
    attempt: int = 1
    claim: UUID | None = None
    due: bool = True
    overdue_in_line: bool = False
    silent: bool = False
    overtime: bool = False
    old_turn: bool = False
    turns_lost: int = 0
    cancel_asked: bool = False
    cancel_overdue: bool = False
    ended: tuple[str, int] | None = None
    failed_lease: int | None = None
    waits_for: str | None = None
    overdue_wait: bool = False
    received: list[Event] = field(default_factory=list)

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    def end(self, status: Status, by: str) -> None:
        self.status, self.ended, self.waits_for = status, (by, self.lease), None

    def retry(self) -> None:
        self.status, self.due, self.overdue_in_line, self.claim = Status.QUEUED, False, False, None
        self.attempt += 1
        self.overtime, self.waits_for = False, None

    def wait(self, key: str) -> None:
        self.status, self.waits_for = Status.WAITING, key
        self.overdue_wait = self.silent = self.overtime = False

    def resume(self) -> None:
        self.status = Status.EXECUTING if self.caller else Status.QUEUED
        self.due, self.overdue_in_line, self.claim, self.waits_for = True, False, None, None
        self.silent = self.overtime = False

    def event_for_claim(self) -> Event | None:
        """The event that brought the run back: once, to the lease that claims it first."""
        for event in self.received:
            if event.claimed is None and not event.answered:
                event.claimed = self.lease
        return next((event for event in self.received if event.claimed == self.lease), None)

    def event_for_heartbeat(self) -> Event | None:
        """The event a caller's run goes on with."""
        if not self.caller or self.status is not Status.EXECUTING or not self.received:
            return None
        return None if self.received[-1].answered else self.received[-1]

    def refusal(self, lease: int) -> type[Exception] | None:
        if self.is_final:
            return fence.RunIsFinal
        if self.lease != lease:
            return fence.LeaseIsStale
        return None if self.status in LEASED else fence.RunIsNotExecuting


class Interleavings(RuleBasedStateMachine):
    def __init__(self, bench: Any, reached: "Counter[tuple[Status, str]]") -> None:
        super().__init__()
        self.reached = reached
        bench.empty()
        self.bench = bench
        self.runs: dict[UUID, Model] = {}
        self.redis: list[Given] = []
        self.absent: frozenset[Given] = frozenset()
        self.tickets: list[Given] = []
        self.held: list[tuple[Given, UUID | None]] = []
        self.ends: dict[UUID, Any] = {}
        self.leases: dict[UUID, int] = {}
        self.events: list[Event] = []
        self.sent = 0

    # -- what happens ------------------------------------------------------------------------------------

    @initialize(
        attempts=st.lists(st.integers(1, 3), min_size=2, max_size=6), working=st.integers(0, 6), key=KEYS
    )
    def begin(self, attempts: list[int], working: int, key: str | None) -> None:
        """Begin amid the traffic: some runs in line, some being executed."""
        for place, max_attempts in enumerate(attempts):
            self.start("abc"[place % 3], False, 1, 5, max_attempts, False, False, key)
        self.work(working)

    @rule(
        partner=PARTNERS,
        again=st.booleans(),
        which=ANY,
        priority=st.integers(0, 10),
        max_attempts=st.integers(1, 3),
        caller=st.booleans(),
        delayed=st.booleans(),
        key=KEYS,
    )
    def start(
        self, partner: str, again: bool, which: int, priority: int, max_attempts: int, caller: bool,
        delayed: bool, key: str | None,
    ) -> None:  # fmt: skip
        caller = caller and key is None and which % 3 == 0
        if again and self.runs:
            known = list(self.runs.values())[which % len(self.runs)]
            job, partner = known.job, known.partner
        else:
            job = self.bench.job(partner)
        lives = any(run.job == job and not run.is_final for run in self.runs.values())
        delay = 3600 if delayed and not caller else 0
        fields = {"priority": priority, "max_attempts": max_attempts, "caller": caller}
        new = self.bench.new(
            job, partner, delay_seconds=delay, concurrency_key=key, retry=SLOW, timeout_seconds=3600, **fields
        )
        try:
            with transaction(self.bench.engine) as connection:
                run = line.submit(connection, new)
        except JobInProgress:
            assert lives
            return
        assert not lives
        status = Status.EXECUTING if caller else Status.DELAYED if delay else Status.QUEUED
        self.runs[run.id] = Model(
            job=job,
            partner=partner,
            status=status,
            max_attempts=1 if caller else max_attempts,
            key=key,
            caller=caller,
        )
        self.runs[run.id].due = not delay
        if caller:
            self.runs[run.id].lease = 1
            self.held.append((Given(run=run.id, lease=1), None))

    @rule(places=st.integers(0, 6), lost=st.booleans())
    def dequeue(self, places: int, lost: bool) -> None:
        room = max(0, places - self.count(Status.DEQUEUED))
        given = self.bench.dequeue(POOL, places)
        assert len(given) <= room
        for run in given:
            model = self.runs[run.id]
            assert model.status is Status.QUEUED
            assert model.due
            assert not model.overdue_in_line
            assert self.has_room(model)
            model.status, model.old_turn = Status.DEQUEUED, False
            model.lease += 1
            if not lost:
                self.redis.append(Given(run=run.id, lease=run.lease))
        if len(given) < room:
            assert not [each for each in self.runs.values() if self.may_go(each)]

    @precondition(lambda self: self.redis)
    @rule(which=ANY)
    def pop(self, which: int) -> None:
        self.tickets.append(self.redis.pop(which % len(self.redis)))

    @rule()
    def redis_forgets(self) -> None:
        self.redis.clear()

    @rule(places=st.integers(0, 6))
    def work(self, places: int) -> None:
        """The usual way, so that enough runs get as far as being executed."""
        self.dequeue(places, False)
        while self.redis:
            self.pop(0)
            self.claim_with(self.tickets[-1], uuid4())

    @precondition(lambda self: self.tickets)
    @rule(which=ANY)
    def claim(self, which: int) -> None:
        self.claim_with(self.tickets[which % len(self.tickets)], uuid4())

    @precondition(lambda self: self.held)
    @rule(which=ANY)
    def claim_again(self, which: int) -> None:
        turn, claim_id = self.held[which % len(self.held)]
        self.claim_with(turn, claim_id or uuid4())

    def claim_with(self, turn: Given, claim_id: UUID) -> None:
        model = self.runs[turn.run]
        mine = model.status is Status.EXECUTING and (model.lease, model.claim) == (turn.lease, claim_id)
        expected: type[Exception] | None = fence.RunIsFinal if model.is_final else fence.ClaimRefused
        if mine or (model.status is Status.DEQUEUED and model.lease == turn.lease):
            expected = None
        claimed = self.attempt(
            lambda connection: (
                leases.claim(connection, turn.run, turn.lease, claim_id, "x"),
                receipts.for_claim(connection, turn.run, turn.lease),
            ),
            expected,
        )
        if claimed is None:
            return
        event = model.event_for_claim()
        assert (claimed[1] and claimed[1].payload) == (event and event.payload)
        model.silent = False
        if not mine:
            model.status, model.claim, model.overtime, model.turns_lost = Status.EXECUTING, claim_id, False, 0
            self.held.append((turn, claim_id))

    @precondition(lambda self: self.held)
    @rule(which=ANY, how=st.sampled_from(["heartbeat", "log", "progress"]), count=st.integers(1, 3))
    def write(self, which: int, how: str, count: int) -> None:
        turn, _ = self.held[which % len(self.held)]
        model, entries = self.runs[turn.run], [Entry(type="log", data={"message": "m"})] * count
        write: dict[str, Callable[[Any], Any]] = {
            "heartbeat": lambda connection: leases.heartbeat(connection, turn.run, turn.lease),
            "log": lambda connection: journal.log(connection, turn.run, turn.lease, entries),
            "progress": lambda connection: journal.progress(
                connection, turn.run, turn.lease, Progress(percent=count)
            ),
        }
        written = self.attempt(write[how], model.refusal(turn.lease))
        if written is not None:
            model.silent = False
        if written is not None and how == "heartbeat":
            assert (written.cancel_requested_at is not None) == model.cancel_asked
            event = model.event_for_heartbeat()
            with transaction(self.bench.engine) as connection:
                heard = receipts.for_heartbeat(connection, turn.run) if written.has_event else None
            assert (heard and heard.payload) == (event and event.payload)

    @precondition(lambda self: self.held)
    @rule(which=ANY)
    def complete(self, which: int) -> None:
        turn, _ = self.held[which % len(self.held)]
        model = self.runs[turn.run]
        repeated = model.ended == ("complete", turn.lease)
        expected = None if repeated else model.refusal(turn.lease)
        ended = self.attempt(lambda connection: leases.complete(connection, turn.run, turn.lease), expected)
        if ended is not None and not repeated:
            model.end(Status.COMPLETED, "complete")

    @precondition(lambda self: self.held)
    @rule(which=ANY, retryable=st.booleans(), obeys=SELDOM, due=st.booleans())
    def fail(self, which: int, retryable: bool, obeys: bool, due: bool) -> None:
        turn, _ = self.held[which % len(self.held)]
        if obeys:
            self.cancel_run(turn.run, self.runs[turn.run])
        model, failure = self.runs[turn.run], Failure(error="e", retryable=retryable)
        refusal = model.refusal(turn.lease)
        repeated = refusal is not None and (
            model.ended == ("fail", turn.lease) or model.failed_lease == turn.lease
        )
        expected = None if repeated else refusal
        run = self.attempt(
            lambda connection: leases.fail(connection, turn.run, turn.lease, failure), expected
        )
        if run is None or repeated:
            return
        if model.cancel_asked:
            model.end(Status.CANCELED, "fail")
        elif not retryable:
            model.end(Status.FAILED, "fail")
        elif model.attempt < model.max_attempts:
            model.failed_lease = model.lease
            model.retry()
            if due:
                self.shift(turn.run, "due_at")
                model.due = True
        else:
            spent = Status.DEAD_LETTER if model.status is Status.EXECUTING else Status.FAILED
            model.end(spent, "fail")

    # -- events ------------------------------------------------------------------------------------------

    @precondition(lambda self: self.held)
    @rule(which=ANY, key=EVENT_KEYS, late=SELDOM, before=st.integers(0, 2), waits=st.integers(1, 3))
    def exchange(self, which: int, key: str, late: bool, before: int, waits: int) -> None:
        """Events come before the waits, during them, or not at all."""
        at_work = [turn for turn, _ in self.held if self.runs[turn.run].refusal(turn.lease) is None]
        turns_held = [turn for turn, _ in self.held] if late else at_work
        if not turns_held:
            return
        turn = turns_held[which % len(turns_held)]
        for _ in range(before):
            self.send(self.runs[turn.run].partner, key, False, False)
        for _ in range(waits):
            self.wait(turn, key)

    def wait(self, turn: Given, key: str) -> None:
        model = self.runs[turn.run]
        event, refusal = self.event_for_wait(turn, key), model.refusal(turn.lease)
        if refusal is None and model.status is Status.WAITING and model.waits_for != key:
            refusal = fence.RunIsNotExecuting
        if refusal is None and event is None and self.waiter(model.partner, key) not in (None, turn.run):
            refusal = KeyIsWaitedFor
        wish = Wish(key=key)
        found = self.attempt(lambda connection: signals.wait(connection, turn.run, turn.lease, wish), refusal)
        if found is None:
            return
        if event is None:
            assert isinstance(found, Wait)
            model.wait(key)
        else:
            assert isinstance(found, Receipt)
            assert found.payload == event.payload
            self.receive(event, turn.run)
            event.answered = turn.lease

    def event_for_wait(self, turn: Given, key: str) -> Event | None:
        """What the run received before, and was not answered to this lease, comes before the key's line."""
        model = self.runs[turn.run]
        if model.status is not Status.EXECUTING:
            return None
        again = [event for event in model.received if event.key == key and event.answered < turn.lease]
        return next(iter(again + self.in_line(model.partner, key)), None)

    @rule(partner=PARTNERS, key=EVENT_KEYS, repeated=st.booleans(), keyed=st.booleans())
    def send(self, partner: str, key: str, repeated: bool, keyed: bool) -> None:
        line = self.in_line(partner, key)
        self.sent += 1
        payload = line[-1].payload if line and repeated else self.sent
        with transaction(self.bench.engine) as connection:
            sent = signals.send(connection, partner, key, payload, keyed=keyed)
        waiter = self.waiter(partner, key)
        assert (sent.resumed and sent.resumed.id) == waiter
        if keyed or not line or line[-1].payload != payload:
            self.events.append(Event(partner=partner, key=key, payload=payload))
        if waiter is not None:
            self.receive(self.events[-1], waiter)
            self.runs[waiter].resume()

    @precondition(lambda self: self.in_state(Status.WAITING))
    @rule(which=ANY)
    def send_to_who_waits(self, which: int) -> None:
        _, model = self.pick(which, Status.WAITING)
        assert model.waits_for is not None
        self.send(model.partner, model.waits_for, False, False)

    @precondition(lambda self: self.in_state(Status.WAITING))
    @rule(which=ANY, wanted=SELDOM, noticed=st.booleans())
    def waits_for_too_long(self, which: int, wanted: bool, noticed: bool) -> None:
        if not wanted:
            return
        run_id, model = self.pick(which, Status.WAITING)
        self.bench.execute("UPDATE wait SET expires_at = now() WHERE run_id = :id", id=run_id)
        model.overdue_wait = True
        if noticed:
            self.end_waits()

    @rule(wanted=SELDOM)
    def a_week_passes(self, wanted: bool) -> None:
        if not wanted:
            return
        self.bench.execute("UPDATE signal SET created_at = now() - interval '8 days'")
        with transaction(self.bench.engine) as connection:
            signals.forget_old(connection)
        self.events = [
            event for event in self.events if event.receiver and not self.runs[event.receiver].is_final
        ]

    # -- ends --------------------------------------------------------------------------------------------

    @precondition(lambda self: self.runs)
    @rule(which=ANY, wanted=SELDOM)
    def cancel(self, which: int, wanted: bool) -> None:
        if wanted:
            self.cancel_run(*self.pick(which))

    def cancel_run(self, run_id: UUID, model: Model) -> None:
        with transaction(self.bench.engine) as connection:
            family.request_cancel(connection, run_id)
        if model.status is Status.EXECUTING:
            model.cancel_asked = True
        elif not model.is_final:
            model.end(Status.CANCELED, "cancel")

    # -- time --------------------------------------------------------------------------------------------

    @precondition(lambda self: self.in_state(Status.DELAYED, Status.QUEUED))
    @rule(which=ANY)
    def becomes_due(self, which: int) -> None:
        run_id, model = self.pick(which, Status.DELAYED, Status.QUEUED)
        self.shift(run_id, "due_at")
        model.due = True

    @precondition(lambda self: self.in_state(Status.DELAYED, Status.QUEUED))
    @rule(which=ANY, wanted=SELDOM)
    def stands_in_line_for_too_long(self, which: int, wanted: bool) -> None:
        if not wanted:
            return
        run_id, model = self.pick(which, Status.DELAYED, Status.QUEUED)
        self.shift(run_id, "expires_at")
        model.overdue_in_line = True

    @precondition(lambda self: self.in_state(Status.EXECUTING))
    @rule(which=ANY, column=st.sampled_from(sorted(NOTICED_BY)), noticed=st.booleans())
    def time_passes_while_executing(self, which: int, column: str, noticed: bool) -> None:
        run_id, model = self.pick(which, Status.EXECUTING)
        if column == "cancel_requested_at" and noticed:
            self.cancel_run(run_id, model)
        self.shift(run_id, column)
        if column == "heartbeat_at":
            model.silent = True
        elif column == "deadline_at":
            model.overtime = True
        elif model.cancel_asked:
            model.cancel_overdue = True
        if noticed:
            getattr(self, NOTICED_BY[column])()

    @precondition(lambda self: self.in_state(Status.EXECUTING))
    @rule(which=ANY, how=st.sampled_from(["heartbeat", "log", "progress"]))
    def another_takes_over(self, which: int, how: str) -> None:
        """A silent executor's run goes to another one, and then the silent one speaks again."""
        run_id, model = self.pick(which, Status.EXECUTING)
        silent = Given(run=run_id, lease=model.lease)
        place = [turn for turn, _ in self.held].index(silent)
        self.shift(run_id, "heartbeat_at")
        model.silent = True
        self.reap()
        self.shift(run_id, "due_at")
        model.due = True
        self.work(self.count(Status.DEQUEUED) + len(self.runs))
        self.write(place, how, 1)
        self.wait(silent, "e")
        self.complete(place)

    @rule(which=ANY, lost_before=st.sampled_from(LOSSES), grows_old=st.booleans(), noticed=st.booleans())
    def a_turn_is_lost(self, which: int, lost_before: int, grows_old: bool, noticed: bool) -> None:
        self.dequeue(self.count(Status.DEQUEUED) + 1, True)
        if not self.count(Status.DEQUEUED):
            return
        run_id, model = self.pick(which, Status.DEQUEUED)
        self.bench.execute("UPDATE run SET turns_lost = :n WHERE id = :id", id=run_id, n=lost_before)
        model.turns_lost = lost_before
        if grows_old:
            self.shift(run_id, "pushed_at")
            model.old_turn = True
        if noticed:
            self.compare()
            self.compare()

    # -- the dispatcher's sweeps -------------------------------------------------------------------------

    @rule(duties=st.lists(st.sampled_from(DUTIES), min_size=1, max_size=6, unique=True))
    def sweep(self, duties: list[str]) -> None:
        for duty in duties:
            getattr(self, duty)()

    def wake(self) -> None:
        for _, model in self.swept(sweeps.wake, lambda run: run.status is Status.DELAYED and run.due):
            model.status, model.overdue_in_line = Status.QUEUED, False

    def expire(self) -> None:
        waiting = (Status.DELAYED, Status.QUEUED)
        for _, model in self.swept(sweeps.expire, lambda run: run.status in waiting and run.overdue_in_line):
            model.end(Status.EXPIRED, "line")

    def reap(self) -> None:
        def is_silent(run: Model) -> bool:
            return run.status is Status.EXECUTING and run.silent

        for _, model in self.swept(lambda connection: sweeps.reap(connection, 60), is_silent):
            if model.cancel_asked:
                model.end(Status.CANCELED, "cancel")
            elif model.attempt >= model.max_attempts:
                model.end(Status.CRASHED, "silence")
            else:
                model.retry()

    def time_out(self) -> None:
        def is_over(run: Model) -> bool:
            return run.status is Status.EXECUTING and run.overtime

        for _, model in self.swept(lambda connection: sweeps.time_out(connection, 60), is_over):
            model.end(Status.TIMED_OUT, "time")

    def end_waits(self) -> None:
        for _, model in self.swept(
            sweeps.end_waits, lambda run: run.waits_for is not None and run.overdue_wait
        ):
            model.end(Status.TIMED_OUT, "wait")

    def cancel_by_force(self) -> None:
        def is_disobedient(run: Model) -> bool:
            return run.status in LEASED and run.cancel_overdue

        for _, model in self.swept(lambda connection: sweeps.cancel_by_force(connection, 30), is_disobedient):
            model.end(Status.CANCELED, "cancel")

    def compare(self) -> None:
        lists = {"jobs:line:default": [json.dumps({"run": str(t.run), "lease": t.lease}) for t in self.redis]}
        given = {Given(run=run_id, lease=model.lease) for run_id, model in self.in_state(Status.DEQUEUED)}
        absent = given - set(self.redis)
        back = (absent & self.absent) | {turn for turn in given if self.runs[turn.run].old_turn}
        with transaction(self.bench.engine) as connection:
            found = turns.compare(connection, lists, self.absent)
        assert {run.id for run in found.moved} == {turn.run for turn in back}
        for turn in back:
            model = self.runs[turn.run]
            if model.turns_lost >= turns.MOST_TURNS_LOST:
                model.end(Status.SYSTEM_FAILED, "turns")
            else:
                model.status, model.due = Status.QUEUED, model.turns_lost == 0
                model.turns_lost += not model.old_turn
        self.absent = found.absent
        self.redis = [turn for turn in self.redis if turn in given]
        assert [len(entries) for entries in found.stale.values()] == [
            len(lists["jobs:line:default"]) - len(self.redis)
        ]

    # -- what must hold ----------------------------------------------------------------------------------

    @invariant()
    def every_run_is_what_the_model_says(self) -> None:
        with transaction(self.bench.engine) as connection:
            statement = text(f"SELECT {RUN_COLUMNS} FROM run")
            stored = {run.id: run for run in runs_of_rows(connection.execute(statement).mappings().all())}
        assert stored.keys() == self.runs.keys()
        for run_id, run in stored.items():
            model = self.runs[run_id]
            assert (run.status, run.lease, run.attempt) == (model.status, model.lease, model.attempt)
            assert run.holds_job == (not model.is_final)
            assert run.lease >= self.leases.get(run_id, 0)
            assert (run.finished_at is not None) == model.is_final
            assert (run.cancel_requested_at is not None) == model.cancel_asked
            self.leases[run_id] = run.lease
            if model.is_final:
                assert self.ends.setdefault(run_id, run) == run

    @invariant()
    def every_ended_run_has_one_outcome_to_deliver_and_no_other_has(self) -> None:
        told = sorted((row["reference"]["run"], row["reference"]["lease"]) for row in self.bench.deliveries())
        ended = [(str(run_id), model.lease) for run_id, model in self.runs.items() if model.is_final]
        assert told == sorted(ended)

    @invariant()
    def every_event_is_in_line_or_received_by_one_run(self) -> None:
        stored = self.bench.execute("SELECT * FROM signal ORDER BY id")
        assert [(row["partner"], row["key"], row["payload"], row["consumed_by"]) for row in stored] == [
            (event.partner, event.key, event.payload, event.receiver) for event in self.events
        ]

    @invariant()
    def only_runs_that_wait_hold_a_key_and_no_event_is_in_its_line(self) -> None:
        stored = {row["run_id"]: row["key"] for row in self.bench.execute("SELECT * FROM wait")}
        assert stored == {run_id: model.waits_for for run_id, model in self.in_state(Status.WAITING)}
        assert not any(self.in_line(self.runs[run_id].partner, key) for run_id, key in stored.items())

    @invariant()
    def every_receipt_is_a_checkpoint(self) -> None:
        statement = "SELECT run_id, state FROM checkpoint WHERE source = 'event' ORDER BY run_id, sequence"
        kept: dict[UUID, list[int]] = {}
        for row in self.bench.execute(statement):
            kept.setdefault(row["run_id"], []).append(row["state"])
        assert kept == {
            run_id: [event.payload for event in model.received][-CHECKPOINTS_KEPT:]
            for run_id, model in self.runs.items()
            if model.received
        }

    @invariant()
    def no_job_has_two_live_runs(self) -> None:
        live = [model.job for model in self.runs.values() if not model.is_final]
        assert len(live) == len(set(live))

    @invariant()
    def histories_have_no_gap(self) -> None:
        gaps = """SELECT run.id FROM run LEFT JOIN run_event ON run_event.run_id = run.id GROUP BY run.id
                  HAVING count(seq) <> event_seq OR max(seq) <> event_seq OR min(seq) <> 1"""
        assert self.bench.execute(gaps) == []

    def teardown(self) -> None:
        """Nothing is lost: whatever happened, an honest dispatcher and an honest executor end every run."""
        self.reached.update((m.status, m.ended[0]) for m in self.runs.values() if m.ended)
        for _ in range(400):
            if all(model.is_final for model in self.runs.values()):
                break
            self.honest_round()
        assert all(model.is_final for model in self.runs.values())
        self.every_run_is_what_the_model_says()
        self.every_ended_run_has_one_outcome_to_deliver_and_no_other_has()

    def honest_round(self) -> None:
        for run_id, model in self.in_state(Status.DELAYED, Status.QUEUED):
            self.shift(run_id, "due_at")
            model.due = True
        while self.in_state(Status.WAITING):
            self.send_to_who_waits(0)
        self.wake()
        self.expire()
        self.compare()
        self.work(8)
        for place in range(len(self.held)):
            self.complete(place)

    # -- shortcuts ---------------------------------------------------------------------------------------

    def in_state(self, *wanted: Status) -> list[tuple[UUID, Model]]:
        return [(run_id, model) for run_id, model in self.runs.items() if model.status in wanted]

    def count(self, status: Status) -> int:
        return len(self.in_state(status))

    def pick(self, which: int, *wanted: Status) -> tuple[UUID, Model]:
        found = self.in_state(*(wanted or tuple(Status)))
        return found[which % len(found)]

    def shift(self, run_id: UUID, column: str) -> None:
        statement = (
            f"UPDATE run SET {column} = now() - interval '55 minutes' WHERE id = :id AND {column} IS NOT NULL"
        )
        self.bench.execute(statement, id=run_id)

    def in_line(self, partner: str, key: str) -> list[Event]:
        return [
            event
            for event in self.events
            if (event.partner, event.key, event.receiver) == (partner, key, None)
        ]

    def waiter(self, partner: str, key: str) -> UUID | None:
        found = [
            run_id for run_id, run in self.runs.items() if (run.partner, run.waits_for) == (partner, key)
        ]
        return found[0] if found else None

    def receive(self, event: Event, run_id: UUID) -> None:
        if event.receiver is None:
            event.receiver = run_id
            self.runs[run_id].received.append(event)

    def has_room(self, model: Model) -> bool:
        busy = self.in_state(Status.DEQUEUED, Status.EXECUTING)
        same = [other for _, other in busy if (other.partner, other.key) == (model.partner, model.key)]
        return model.key is None or not same

    def may_go(self, model: Model) -> bool:
        return (
            model.status is Status.QUEUED and model.due and not model.overdue_in_line and self.has_room(model)
        )

    def attempt(self, work: Callable[[Any], Any], expected: type[Exception] | None) -> Any:
        refusal, done = None, None
        try:
            with transaction(self.bench.engine) as connection:
                done = work(connection)
        except (fence.RunRefused, KeyIsWaitedFor) as error:
            refusal = type(error)
        assert refusal is expected
        return done

    def swept(
        self, sweep: Callable[[Any], Any], selects: Callable[[Model], bool]
    ) -> list[tuple[UUID, Model]]:
        with transaction(self.bench.engine) as connection:
            moved = {run.id for run in sweep(connection)}
        selected = [(run_id, model) for run_id, model in self.runs.items() if selects(model)]
        assert moved == {run_id for run_id, _ in selected}
        return selected


def test_no_interleaving_loses_or_doubles_a_run(bench: Any) -> None:
    reached: Counter[tuple[Status, str]] = Counter()
    run_state_machine_as_test(
        cast(Any, lambda: Interleavings(bench, reached)),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    if EXAMPLES >= 100:
        assert reached.keys() >= WAYS_TO_AN_END, reached
