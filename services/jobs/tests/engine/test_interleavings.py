"""Any order of claims, losses, retries, cancellations and sweeps, against a model of what must come of it.

The statements run on PostgreSQL; Redis is a list that forgets; time moves by shifting timestamps in rows.
`TAXIWAY_INTERLEAVINGS` asks for more examples than the few that every test run makes.
"""

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
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
from jobs.engine import family, fence, journal, leases, line, moves, sweeps, turns
from jobs.engine.journal import Entry, Progress
from jobs.engine.leases import Failure
from jobs.engine.line import JobInProgress
from jobs.engine.moves import Step
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
NOTICED_BY = {"heartbeat_at": "reap", "deadline_at": "time_out", "cancel_requested_at": "cancel_by_force"}
DUTIES = ("wake", "expire", "reap", "time_out", "cancel_by_force", "compare")
WAYS_TO_AN_END = {
    (Status.COMPLETED, "complete"),
    (Status.FAILED, "fail"),
    (Status.DEAD_LETTER, "fail"),
    (Status.CANCELED, "fail"),
    (Status.CANCELED, "cancel"),
    (Status.CRASHED, "silence"),
    (Status.TIMED_OUT, "time"),
    (Status.EXPIRED, "line"),
    (Status.SYSTEM_FAILED, "turns"),
}

WAIT = Step(target=Status.WAITING, where="id = :id AND lease = :lease", by="test")
RESUME = Step(target=Status.QUEUED, where="id = :id", by="test", origins=frozenset({Status.WAITING}))


@dataclass
class Model:
    """What a run must be."""

    job: UUID
    partner: str
    status: Status
    max_attempts: int
    key: str | None
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

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    def end(self, status: Status, by: str) -> None:
        self.status, self.ended = status, (by, self.lease)

    def retry(self) -> None:
        self.status, self.due, self.overdue_in_line, self.claim = Status.QUEUED, False, False, None
        self.attempt += 1
        self.overtime = False

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
        partner=st.sampled_from("abc"),
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
            job=job, partner=partner, status=status, max_attempts=1 if caller else max_attempts, key=key
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
            lambda connection: leases.claim(connection, turn.run, turn.lease, claim_id, "x"), expected
        )
        if claimed is None:
            return
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

    @precondition(lambda self: self.held)
    @rule(which=ANY)
    def wait(self, which: int) -> None:
        turn, _ = self.held[which % len(self.held)]
        model = self.runs[turn.run]
        with transaction(self.bench.engine) as connection:
            moved = moves.move(connection, WAIT, {"id": turn.run, "lease": turn.lease})
        assert bool(moved) == (model.status is Status.EXECUTING and model.lease == turn.lease)
        if moved:
            model.status = Status.WAITING

    @precondition(lambda self: self.in_state(Status.WAITING))
    @rule(which=ANY)
    def resume(self, which: int) -> None:
        run_id, model = self.pick(which, Status.WAITING)
        with transaction(self.bench.engine) as connection:
            moves.move(connection, RESUME, {"id": run_id})
        model.status = Status.QUEUED

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
        for run_id, model in self.in_state(Status.WAITING):
            with transaction(self.bench.engine) as connection:
                moves.move(connection, RESUME, {"id": run_id})
            model.status = Status.QUEUED
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
        except fence.RunRefused as error:
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
