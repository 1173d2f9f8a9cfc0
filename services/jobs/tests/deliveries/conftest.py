"""Ended runs whose outcomes must go out, and a receiver that answers as a test wants."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from common.database import transaction
from jobs.deliveries.send import SendFailed
from jobs.engine import leases, line
from jobs.engine.line import NewRun
from jobs.engine.tables import Run

LABELS = '{"labels": {"tenant": "t1", "schoolYear": "2026", "bundle": "assessments/X"}}'
NEW_JOB = text("INSERT INTO job (uid, partner, kind, spec) VALUES (:uid, 'acme', 'bundle', :spec)")


@dataclass
class FakeReceiver:
    """Outputs, as a test wants it: `failing` says how often it refuses first."""

    failing: int = 0
    status: int | None = 503
    received: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    answer: dict[str, Any] = field(default_factory=lambda: {"sets": []})

    def put(self, target: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        self.received.append((target, body))
        if self.failing:
            self.failing -= 1
            raise SendFailed("no", self.status)
        return 200, self.answer


@pytest.fixture
def receiver() -> FakeReceiver:
    return FakeReceiver()


@pytest.fixture
def ended(engine: Engine) -> Callable[..., Run]:
    """A run that completed, its outcome waiting in the outbox."""

    def make(named: tuple[str, ...] = ("set-1",)) -> Run:
        uid = uuid4()
        new = NewRun(job_id=uid, partner="acme", payload={}, inputs={}, created_by="test", caller=True)
        with transaction(engine) as connection:
            connection.execute(NEW_JOB, {"uid": uid, "spec": LABELS})
            run = line.submit(connection, new)
            return leases.complete(connection, run.id, 1, named_sets=named)

    return make


@pytest.fixture(autouse=True)
def _empty(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM delivery"))
