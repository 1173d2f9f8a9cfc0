"""Runs at work for the partner `ea`, made by the engine itself, and a client that watches them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text
from werkzeug.test import TestResponse

from common.database import transaction
from common.principal import Principal
from jobs.engine import journal, leases, line, memory, outputs, turns
from jobs.engine.journal import Entry
from jobs.engine.line import NewRun
from jobs.engine.tables import Run

NEW_JOB = text(
    "INSERT INTO job (uid, partner, kind, spec) VALUES (:uid, :partner, 'bundle', '{\"labels\": {}}')"
)


@dataclass(frozen=True, kw_only=True)
class Worked:
    """A run in an executor's hands, and what its executor would report."""

    engine: Engine
    run: Run

    def log(self, *entries: Entry) -> None:
        with transaction(self.engine) as connection:
            for begin in range(0, len(entries), journal.MAX_ENTRIES):
                some = entries[begin : begin + journal.MAX_ENTRIES]
                journal.log(connection, self.run.id, self.run.lease, some)

    def lines(self, *messages: str, level: str = "info") -> None:
        self.log(*(Entry(type="log", level=level, data={"message": message}) for message in messages))

    def used(self, **used: Any) -> None:
        whole = {"provider": "p", "model": "m", "prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
        with transaction(self.engine) as connection:
            call = {**whole, "cost_microusd": 4, **used}
            journal.usage(connection, self.run.id, self.run.lease, call, budget_microusd=0)

    def checkpoint(self, state: Any) -> None:
        with transaction(self.engine) as connection:
            memory.save_checkpoint(connection, self.run.id, self.run.lease, state, "sdk")

    def put(self, key: str, value: Any, schema: Any = None) -> None:
        with transaction(self.engine) as connection:
            outputs.put(connection, self.run.id, self.run.lease, key, value, schema)


@pytest.fixture
def submit(engine: Engine) -> Callable[..., Run]:
    """Put a run of a new job in line."""

    def make(partner: str = "ea", **fields: Any) -> Run:
        uid = uuid4()
        values: dict[str, Any] = {"payload": {}, "inputs": {}, "created_by": "test", **fields}
        with transaction(engine) as connection:
            connection.execute(NEW_JOB, {"uid": uid, "partner": partner})
            return line.submit(connection, NewRun(job_id=uid, partner=partner, **values))

    return make


@pytest.fixture
def worked(engine: Engine, submit: Callable[..., Run]) -> Callable[..., Worked]:
    """A run that an executor has claimed."""

    def make(partner: str = "ea", **fields: Any) -> Worked:
        run = submit(partner, pool=uuid4().hex, **fields)
        with transaction(engine) as connection:
            [given] = turns.dequeue(connection, run.pool, 8)
            return Worked(engine=engine, run=leases.claim(connection, run.id, given.lease, uuid4(), "x"))

    return make


@pytest.fixture
def ask(door: Any) -> Callable[..., TestResponse]:
    """Ask an address under /v1/runs, as a client that may read the runs of `ea` unless told otherwise."""

    def call(path: str = "", **told: Any) -> TestResponse:
        options = {name: told.pop(name) for name in ("headers",) if name in told}
        may: dict[str, Any] = {"kind": "client", "scopes": ["read:jobs"], "partners": ["ea"], **told}
        caller = Principal(
            kind=may["kind"],
            subject="s",
            scopes=frozenset(may["scopes"]),
            partners=frozenset(may["partners"]),
        )
        answer: TestResponse = door.call(caller, "GET", f"/v1/runs{path}", **options)
        return answer

    return call


@pytest.fixture
def look(ask: Callable[..., TestResponse]) -> Callable[..., Mapping[str, Any]]:
    """Read an address under /v1/runs that must answer 200."""

    def read(path: str = "") -> Mapping[str, Any]:
        answer = ask(path)
        assert answer.status_code == 200, answer.text
        document: Mapping[str, Any] = answer.get_json()
        return document

    return read


@pytest.fixture
def walk(look: Callable[..., Mapping[str, Any]]) -> Callable[..., list[Any]]:
    """Read every page of a list and give all its items."""

    def read(path: str, query: str = "limit=100", by: str = "after") -> list[Any]:
        page = look(f"{path}?{query}")
        items = list(page["items"])
        while page["next"] is not None:
            page = look(f"{path}?{query}&{by}={page['next']}")
            items += page["items"]
        return items

    return read
