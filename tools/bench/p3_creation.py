"""P3: create a job: validate, write its rows, sign two upload URLs."""

import json
from collections.abc import Callable
from functools import partial

from bench import load, rival
from bench.conditions import Conditions, Said
from bench.figures import Measured, Result, Target, compared, in_turn
from bench.place import Place
from bench.stacks import TWO_FILES, measured_stack
from bench.stacks import Measured as Stack
from common.principal import Principal

PATH, CONNECTIONS = "/api/v1/jobs", 16
CLIENT = Principal(
    kind="client",
    subject="bench",
    client_id="bench",
    client_name="Bench",
    scopes=frozenset({"create:jobs"}),
    partners=frozenset({"ea"}),
)
NOTE = (
    "The peer validates with pydantic, writes the same rows into tables made alike, and signs the same URLs;"
    " it looks nothing up in a catalog and checks no token."
)


def measure(conditions: Conditions) -> tuple[list[Result], Said]:
    """Measure the row. Raises Missing."""
    with measured_stack() as stack, Place() as place:
        rival.make_tables(stack)
        port, server = rival.start(place, stack)
        runs: dict[str, Callable[[], Measured]] = {
            "service": partial(without_gateway, stack, place, conditions.seconds),
            "gateway": partial(through_gateway, stack, place, conditions.seconds),
            "fastapi": partial(stretch, place, port, (server.pid,), {}, conditions.seconds),
        }
        for run in runs.values():
            run()
        rounds = in_turn(runs, conditions.pairs)
    line = partial(
        compared, "P3", rounds=rounds, theirs="fastapi", peer=rival.TITLE, note=NOTE, unit="jobs/s"
    )
    work = "job created: validated, rows written, two URLs signed"
    return [
        line(work=f"{work}; without the gateway", ours="service", target=Target(number=1.3)),
        line(work=f"{work}; through the gateway", ours="gateway", target=Target(number=1.0)),
    ], Said(versions=rival.versions(), skipped=[])


def through_gateway(stack: Stack, place: Place, seconds: float) -> Measured:
    """Create jobs as clients do."""
    headers = {"Authorization": f"Bearer {stack.token}"}
    pids = stack.pids("gateway", "jobs")
    return stretch(place, stack.local.port("gateway"), pids, headers, seconds)


def without_gateway(stack: Stack, place: Place, seconds: float) -> Measured:
    """Create jobs at the service's own port, as the gateway does."""
    headers = stack.signed(CLIENT, "jobs", "POST", PATH)
    return stretch(place, stack.local.port("jobs"), stack.pids("jobs"), headers, seconds)


def stretch(
    place: Place, port: int, pids: tuple[int, ...], headers: dict[str, str], seconds: float
) -> Measured:
    body = json.dumps(TWO_FILES).encode()
    request = load.request("POST", PATH, {**headers, "Content-Type": "application/json"}, body)
    requests = load.write(place.folder / "jobs", [request])
    send = partial(load.send, port, requests, connections=CONNECTIONS, seconds=seconds)
    return load.measured(pids, send)
