"""Any order of spawns, ends, waits in vain and cancels within families, against a model of what comes of it.

`TAXIWAY_INTERLEAVINGS` asks for more examples than the few that every test run makes.
"""

import os
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

from common.database import transaction
from jobs.engine import family, leases, sweeps
from jobs.engine.family import Child
from jobs.engine.leases import Failure
from jobs.engine.states import FINAL, Status

EXAMPLES = int(os.environ.get("TAXIWAY_INTERLEAVINGS", "10"))
STORED = """
    SELECT id, status, attempt, parent_run_id, awaits_run_id, ended_child_id,
           cancel_requested_at IS NOT NULL AS asked FROM run
"""
ANY = st.integers(0, 10**6)


@dataclass
class Member:
    """What a run of a family must be."""

    parent: UUID | None
    status: Status
    caller: bool = False
    lease: int = 0
    awaits: UUID | None = None
    told_of: UUID | None = None
    asked: bool = False


class Families(RuleBasedStateMachine):
    def __init__(self, bench: Any) -> None:
        super().__init__()
        bench.empty()
        self.bench = bench
        self.members: dict[UUID, Member] = {}

    # -- what happens ------------------------------------------------------------------------------------

    @initialize(callers=st.lists(st.booleans(), min_size=1, max_size=2))
    def begin(self, callers: list[bool]) -> None:
        for caller in callers:
            run = self.bench.submit(caller=caller)
            self.members[run.id] = Member(parent=None, status=run.status, caller=caller, lease=run.lease)
        self.work()

    @rule()
    def work(self) -> None:
        """Everything in line gets its turn and is claimed."""
        for run in self.bench.dequeue("default", 1000):
            with transaction(self.bench.engine) as connection:
                claimed = leases.claim(connection, run.id, run.lease, uuid4(), "x")
            member = self.members[run.id]
            assert member.status is Status.QUEUED
            assert claimed.ended_child_id == member.told_of
            member.status, member.lease = Status.EXECUTING, run.lease

    @precondition(lambda self: self.able())
    @rule(which=ANY, awaits=st.booleans())
    def spawn(self, which: int, awaits: bool) -> None:
        parent_id = self.able()[which % len(self.able())]
        parent, job = self.members[parent_id], self.bench.job()
        child = Child(job_id=job, payload={}, inputs={}, await_seconds=3600 if awaits else None)
        with transaction(self.bench.engine) as connection:
            held = family.hold(connection, parent_id, parent.lease)
            made = family.spawn(connection, held, child)
        self.members[made.id] = Member(parent=parent_id, status=Status.QUEUED)
        if awaits:
            parent.status, parent.awaits, parent.told_of = Status.WAITING, made.id, None

    @precondition(lambda self: self.able())
    @rule(which=ANY)
    def go_on(self, which: int) -> None:
        run_id = self.able()[which % len(self.able())]
        member = self.members[run_id]
        with transaction(self.bench.engine) as connection:
            made = family.continue_(connection, run_id, member.lease, None)
        self.members[made.id] = Member(parent=member.parent, status=Status.QUEUED)

    @precondition(lambda self: self.leased())
    @rule(which=ANY, well=st.booleans())
    def end(self, which: int, well: bool) -> None:
        run_id = self.leased()[which % len(self.leased())]
        member = self.members[run_id]
        with transaction(self.bench.engine) as connection:
            if well:
                leases.complete(connection, run_id, member.lease)
            else:
                leases.fail(connection, run_id, member.lease, Failure(error="e"))
        failed = Status.CANCELED if member.asked else Status.FAILED
        self.over(run_id, Status.COMPLETED if well else failed)

    @precondition(lambda self: self.awaited())
    @rule(which=ANY, well=st.booleans())
    def an_awaited_child_ends(self, which: int, well: bool) -> None:
        self.work()
        if at_work := [child for child in self.awaited() if child in self.leased()]:
            self.end(self.leased().index(at_work[which % len(at_work)]), well)

    @precondition(lambda self: self.members)
    @rule(which=ANY)
    def cancel(self, which: int) -> None:
        run_id = list(self.members)[which % len(self.members)]
        with transaction(self.bench.engine) as connection:
            family.request_cancel(connection, run_id)
        if self.members[run_id].status in FINAL:
            return
        for each in self.tree(run_id):
            member = self.members[each]
            if member.status is Status.EXECUTING:
                member.asked = True
            elif member.status not in FINAL:
                self.over(each, Status.CANCELED)

    @precondition(lambda self: self.leased())
    @rule(which=ANY)
    def waits_in_vain(self, which: int) -> None:
        run_id = self.leased()[which % len(self.leased())]
        past = "UPDATE run SET await_expires_at = now() - interval '1 s'"
        self.bench.execute(f"{past} WHERE id = :id AND await_expires_at IS NOT NULL", id=run_id)
        with transaction(self.bench.engine) as connection:
            ended = {run.id for run in sweeps.time_out_awaits(connection)}
        assert ended == ({run_id} if self.members[run_id].awaits else set())
        if ended:
            self.over(run_id, Status.TIMED_OUT)

    # -- what must hold ----------------------------------------------------------------------------------

    @invariant()
    def every_run_is_what_the_model_says(self) -> None:
        rows = {row["id"]: row for row in self.bench.execute(STORED)}
        assert rows.keys() == self.members.keys()
        for run_id, member in self.members.items():
            row = rows[run_id]
            assert (row["status"], row["parent_run_id"]) == (member.status, member.parent)
            assert (row["awaits_run_id"], row["ended_child_id"]) == (member.awaits, member.told_of)
            assert (row["asked"], row["attempt"]) == (member.asked, 1)

    def teardown(self) -> None:
        """Who works on until nothing is left leaves no run behind."""
        for _ in range(2 * len(self.members)):
            self.work()
            for run_id in [each for each in self.leased() if not self.members[each].awaits]:
                self.end(self.leased().index(run_id), True)
        assert {member.status for member in self.members.values()} <= FINAL
        self.every_run_is_what_the_model_says()

    # -- shortcuts ---------------------------------------------------------------------------------------

    def leased(self) -> list[UUID]:
        at_work = (Status.EXECUTING, Status.WAITING)
        return [run_id for run_id, member in self.members.items() if member.status in at_work]

    def awaited(self) -> list[UUID]:
        return [member.awaits for member in self.members.values() if member.awaits]

    def able(self) -> list[UUID]:
        """Who may spawn and continue, kept few: depth has tests of its own."""
        free = [each for each in self.leased() if not (self.members[each].asked or self.members[each].awaits)]
        return free if len(self.members) < 25 else []

    def tree(self, root: UUID) -> list[UUID]:
        below = [run_id for run_id, member in self.members.items() if member.parent == root]
        return [root, *(each for child in below for each in self.tree(child))]

    def over(self, run_id: UUID, status: Status) -> None:
        ended = self.members[run_id]
        ended.status, ended.awaits = status, None
        for member in self.members.values():
            if member.awaits == run_id:
                member.status = Status.EXECUTING if member.caller else Status.QUEUED
                member.awaits, member.told_of = None, run_id


def test_no_interleaving_leaves_a_parent_waiting_for_nothing(bench: Any) -> None:
    run_state_machine_as_test(
        cast(Any, lambda: Families(bench)),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
