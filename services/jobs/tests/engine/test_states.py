"""The table of states, and that nothing but the one statement writes them."""

import re
from pathlib import Path

import pytest

import jobs
from jobs.engine import leases, line, moves, sweeps, turns
from jobs.engine.moves import Step
from jobs.engine.states import FINAL, LIVE, TRANSITIONS, IllegalMove, Status, sources

SOURCES = sorted(Path(jobs.__file__).parent.rglob("*.py"))
WRITES_STATUS = re.compile(r"UPDATE\s+run\s+SET(?:(?!\bWHERE\b|\bFROM\b).)*\bstatus\s*=", re.DOTALL)


def test_only_moves_writes_the_status_of_a_run() -> None:
    writers = [path.name for path in SOURCES if WRITES_STATUS.search(path.read_text(encoding="utf-8"))]
    assert writers == ["moves.py"]


def test_no_changes_clause_smuggles_in_a_status() -> None:
    steps = [step for module in (leases, line, sweeps, turns) for step in vars(module).values()]
    clauses = [step.changes for step in steps if isinstance(step, Step)]
    assert clauses
    assert not [clause for clause in clauses if re.search(r"\b(status|holds_job|finished_at)\s*=", clause)]


def test_the_final_states_are_those_of_the_contract() -> None:
    words = "completed failed timed_out crashed dead_letter system_failed canceled expired"
    assert set(words.split()) == FINAL
    assert {"delayed", "queued", "dequeued", "executing", "waiting"} == LIVE


@pytest.mark.parametrize("final", sorted(FINAL))
def test_no_move_leads_out_of_a_final_state(final: Status) -> None:
    assert not TRANSITIONS[final]
    assert not [status for status in Status if final in sources(status)]


def test_every_state_can_be_reached_and_left_to_an_end() -> None:
    assert not [status for status in Status if not sources(status) and status is not Status.DELAYED]
    reached = set(FINAL)
    for _ in Status:
        reached |= {status for status, targets in TRANSITIONS.items() if targets & reached}
    assert reached == set(Status)


def test_a_step_that_the_table_does_not_know_cannot_be_built() -> None:
    with pytest.raises(IllegalMove):
        Step(target=Status.QUEUED, where="true", by="test", origins=frozenset({Status.COMPLETED}))
    with pytest.raises(IllegalMove):
        Step(target=Status.DELAYED, where="true", by="test")


def test_a_final_step_goes_through_end_and_no_other(bench: "object") -> None:
    final = Step(target=Status.CANCELED, where="false", by="test")
    other = Step(target=Status.QUEUED, where="false", by="test")
    with bench.engine.begin() as connection:  # type: ignore[attr-defined]
        with pytest.raises(IllegalMove):
            moves.move(connection, final, {})
        with pytest.raises(IllegalMove):
            moves.end(connection, other, {})
        assert moves.move(connection, other, {}) == []
        assert moves.end(connection, final, {}) == []
