"""P4: a run with nothing to do, from its start until outputs has answered, beside queues people use."""

import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench import peers
from bench.conditions import Conditions, Said
from bench.figures import Measured, Result, Round, Target, compared, in_turn, limited, percentile
from bench.flow import Flow
from bench.peers import Missing
from bench.place import LOAD_CORE, Place, cpu_seconds
from bench.stacks import Measured as Stack
from bench.stacks import measured_stack
from stack.errors import NotReady
from stack.ports import free_port

RUNS, IDLE_RUNS, FEW_RUNS = 400, 60, 40
IDLE_LIMIT_MS = 5.0
READY_MARK = "ready"
PRODUCE_SECONDS = 120
WORK = "a no-op run, start to published"
NOTE = (
    "Ours: start, claim and complete through the gateway, outcome acknowledged by outputs; jobs are created"
    " beforehand. A peer: enqueued by one producer, done when its result is stored."
)


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A peer: a worker, and a command that sends it tasks and says how long they took."""

    title: str
    target: Target | None
    worker: tuple[str | Path, ...]
    producer: tuple[str | Path, ...]
    environment: Mapping[str, str]
    versions: Mapping[str, str]
    runs: int = RUNS


def measure(conditions: Conditions) -> tuple[list[Result], Said]:
    """Measure the row; a peer that is not to be had is left out."""
    with measured_stack() as stack, Place() as place:
        said = Said(versions={}, skipped=[])
        flow = Flow(stack)
        runs: dict[str, Callable[[], Measured]] = {"ours": partial(ours, stack, flow, RUNS)}
        queues: dict[str, Queue] = {}
        for name, made in QUEUES.items():
            try:
                queues[name] = made(stack)
                runs[name] = started(place, name, queues[name])
            except (Missing, NotReady) as missing:
                said.skipped.append(f"{name}: {missing}")
        for queue in queues.values():
            said.versions.update(queue.versions)
        ours(stack, flow, FEW_RUNS)
        rounds = in_turn(runs, conditions.pairs)
        results = [line(rounds, name, queues[name]) for name in queues if name in runs]
        return [*results, idle(flow, conditions)], said


def line(rounds: list[Round], name: str, queue: Queue) -> Result:
    return compared(
        "P4",
        f"{WORK}; start to begin p50 {p50(rounds, 'ours')} ms against {p50(rounds, name)}",
        rounds,
        ours="ours",
        theirs=name,
        peer=queue.title,
        target=queue.target,
        unit="runs/s",
        note=NOTE,
    )


def ours(stack: Stack, flow: Flow, count: int) -> Measured:
    """Send so many runs through the whole stack."""
    pids = stack.pids("gateway", "jobs", "dispatcher", "courier", "outputs")
    jobs = flow.create(count)
    before = cpu_seconds(pids)
    passed = flow.run(jobs)
    used = cpu_seconds(pids) - before
    return {
        "per_second": count / passed.seconds,
        "cpu_us": used / count * 1e6,
        "p50_ms": percentile(passed.starts_ms, 0.5),
    }


def idle(flow: Flow, conditions: Conditions) -> Result:
    """Measure one run at a time: start to claim on an idle stack."""
    series = [flow.one_by_one(flow.create(IDLE_RUNS)).starts_ms for _ in range(conditions.pairs)]
    tail = percentile([each for run in series for each in run], 0.99)
    medians = [percentile(each, 0.5) for each in series]
    work = f"start to claim on an idle stack, p50 (p99 {tail:.1f} ms)"
    return limited("P4", work, medians, limit=IDLE_LIMIT_MS, unit="ms")


def started(place: Place, name: str, queue: Queue) -> Callable[[], Measured]:
    """Start a peer's worker; return what measures it. Raises Missing when it does not work."""
    log = place.folder / f"{name}.log"

    def is_ready() -> bool:
        return READY_MARK in log.read_text(encoding="utf-8", errors="replace")

    server = place.start(name, queue.worker, is_ready, environment=queue.environment)

    def run(count: int = queue.runs) -> Measured:
        before = cpu_seconds([server.pid])
        said = produced(queue, count)
        used = cpu_seconds([server.pid]) - before
        return {
            "per_second": count / said["seconds"],
            "cpu_us": used / count * 1e6,
            "p50_ms": percentile(said["starts_ms"], 0.5),
        }

    run(min(FEW_RUNS, queue.runs))
    return run


def produced(queue: Queue, count: int) -> Any:
    """Have the producer send tasks and wait for them; its last line says how it went."""
    command = ["taskset", "-c", str(LOAD_CORE), *map(str, queue.producer), str(count)]
    environment = {"PATH": peers.SYSTEM_PATH, "HOME": str(peers.FOLDER), **queue.environment}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False, timeout=PRODUCE_SECONDS
        )
    except subprocess.TimeoutExpired as expired:
        raise Missing(f"{queue.title}: not done in {PRODUCE_SECONDS} s") from expired
    if done.returncode:
        raise Missing(f"{queue.title}: {done.stderr[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def p50(rounds: list[Round], name: str) -> str:
    return f"{percentile([each[name]['p50_ms'] for each in rounds], 0.5):.1f}"


def procrastinate(stack: Stack) -> Queue:
    programs = peers.python("procrastinate", "psycopg[binary,pool]")
    script = peers.CONFIGURATIONS / "procrastinate_queue.py"
    return Queue(
        title="procrastinate",
        target=Target(number=2),
        worker=(programs / "python", "-u", script, "work"),
        producer=(programs / "python", script, "send"),
        environment={"DATABASE_URL": stack.dsn()},
        versions={"procrastinate": peers.version("procrastinate")},
    )


def celery(stack: Stack) -> Queue:
    programs = peers.python("celery[redis,sqlalchemy]", "psycopg2-binary")
    script = peers.CONFIGURATIONS / "celery_queue.py"
    return Queue(
        title="Celery, late acknowledgement, results in PostgreSQL",
        target=Target(number=2),
        worker=(programs / "python", "-u", script, "work"),
        producer=(programs / "python", script, "send"),
        environment={"DATABASE_URL": stack.dsn(), "REDIS_URL": stack.local.redis_url("admin")},
        versions={"Celery": peers.version("celery")},
    )


def prefect(stack: Stack) -> Queue:
    programs = peers.python("prefect")
    script = peers.CONFIGURATIONS / "prefect_flows.py"
    home = {"PREFECT_HOME": str(peers.FOLDER / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    return Queue(
        title="Prefect flow runs",
        target=Target(number=2),
        worker=(programs / "python", "-u", script, "work"),
        producer=(programs / "python", script, "send"),
        environment={**home, "PREFECT_PORT": str(free_port()), "DATABASE_URL": stack.dsn()},
        versions={"Prefect": peers.version("prefect")},
        runs=FEW_RUNS,
    )


def bullmq(stack: Stack) -> Queue:
    node, folder = peers.debian("nodejs", "node"), peers.node("bullmq", "ioredis")
    script = peers.CONFIGURATIONS / "bullmq_queue.mjs"
    return Queue(
        title="BullMQ (not durable)",
        target=None,
        worker=(node, script, folder, "work"),
        producer=(node, script, folder, "send"),
        environment={"REDIS_URL": stack.local.redis_url("admin")},
        versions={"BullMQ": peers.node_version("bullmq")},
    )


QUEUES: Mapping[str, Callable[[Stack], Queue]] = {
    "procrastinate": procrastinate,
    "celery": celery,
    "prefect": prefect,
    "bullmq": bullmq,
}
