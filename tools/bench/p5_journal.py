"""P5: what a run at work says: log lines, progress, heartbeats, checkpoints."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import text

from bench import load, rival
from bench.conditions import Conditions, Said
from bench.figures import Measured, Result, Target, compared, in_turn, series_of, spread
from bench.place import Place
from bench.stacks import NOOP, measured_stack
from bench.stacks import Measured as Stack
from common.principal import Principal

RUNS, CONNECTIONS = 64, 16
CALLS: Mapping[str, Any] = {
    "log": {"message": "12,000 of 50,000 rows transformed", "level": "info"},
    "progress": {"percent": 42.5, "step": "transform", "message": "12,000 of 50,000 rows"},
    "heartbeat": {},
    "checkpoint": {"state": {"file": "results.csv", "row": 12000, "seen": ["a", "b", "c"]}},
}
TWINS = text("""
    INSERT INTO bench.run OVERRIDING SYSTEM VALUE SELECT * FROM jobs.run WHERE status = 'executing'
""")


@dataclass(frozen=True, kw_only=True)
class Working:
    """A run at work: who it is to the service."""

    run: str
    principal: Principal


def measure(conditions: Conditions) -> tuple[list[Result], Said]:
    """Measure each kind of call. Raises Missing."""
    with measured_stack() as stack, Place() as place:
        rival.make_tables(stack)
        port, server = rival.start(place, stack)
        runs = [start(stack) for _ in range(RUNS)]  # last: while the peer is installed nothing beats for them
        with stack.superuser().connect() as connection:
            connection.execute(TWINS)
        results = []
        for call in CALLS:
            contenders = {
                "ours": partial(ours, stack, place, runs, call, conditions.seconds),
                "fastapi": partial(peer, place, port, server.pid, runs, call, conditions.seconds),
            }
            for contender in contenders.values():
                contender()
            results.append(line(call, contenders, conditions.pairs))
    return results, Said(versions=rival.versions(), skipped=[])


def line(call: str, contenders: Mapping[str, Any], pairs: int) -> Result:
    rounds = in_turn(contenders, pairs)
    tails = [spread(series_of(rounds, name, "p99_ms")).median for name in contenders]
    return compared(
        "P5",
        f"executor API: {call}, {RUNS} runs; p99 {tails[0]:.1f} ms against {tails[1]:.1f}",
        rounds,
        ours="ours",
        theirs="fastapi",
        peer="FastAPI, asyncpg",
        target=Target(number=1.0),
        unit="calls/s",
        note="At the service's own port, without Idempotency-Keys; the peer checks no caller.",
    )


def start(stack: Stack) -> Working:
    """Create a job and start it in the caller's own hands."""
    job = stack.call("POST", "/api/v1/jobs", NOOP)["uid"]
    run = stack.call("POST", f"/api/v1/jobs/{job}/start", {"executor": "caller"})["runUid"]
    principal = Principal(
        kind="run",
        subject=run,
        run=run,
        lease=1,
        attempt=1,
        job=job,
        scopes=frozenset({"run:work"}),
        partners=frozenset({"ea"}),
        expires_at=2_000_000_000,
    )
    return Working(run=run, principal=principal)


def ours(stack: Stack, place: Place, runs: Sequence[Working], call: str, seconds: float) -> Measured:
    headers = [stack.signed(each.principal, "jobs", "POST", target_of(each, call)) for each in runs]
    return stretch(place, stack.local.port("jobs"), stack.pids("jobs"), runs, call, seconds, headers)


def peer(place: Place, port: int, pid: int, runs: Sequence[Working], call: str, seconds: float) -> Measured:
    return stretch(place, port, (pid,), runs, call, seconds, [{}] * len(runs))


def stretch(
    place: Place,
    port: int,
    pids: tuple[int, ...],
    runs: Sequence[Working],
    call: str,
    seconds: float,
    headers: Sequence[dict[str, str]],
) -> Measured:
    body, typed = json.dumps(CALLS[call]).encode(), {"Content-Type": "application/json"}
    requests = [
        load.request("POST", target_of(run, call), {**own, **typed}, body)
        for run, own in zip(runs, headers, strict=True)
    ]
    path = load.write(place.folder / f"calls-{uuid.uuid4()}", requests)
    return load.measured(pids, partial(load.send, port, path, connections=CONNECTIONS, seconds=seconds))


def target_of(run: Working, call: str) -> str:
    return f"/sdk/v1/runs/{run.run}/{call}"
