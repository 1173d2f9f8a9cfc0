"""The table of Taxiway's own processes: what each runs and what it is told."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from stack.launch import this_python
from stack.layout import Layout
from stack.ports import Ports, variable_of
from stack.processes import Options, Process, answers_ok
from stack.seaweed import BUCKETS, REGION
from stack.secrets import Secrets

REALM = "example"
AUDIENCE = "runway-local"
WEB = {"WEB_WORKERS": "2", "WEB_THREADS": "8"}
TIMEOUTS = {"HEARTBEAT_TIMEOUT_SECONDS": "15", "COMPARE_INTERVAL_SECONDS": "5", "TICK_SECONDS": "1"}
RUN_TOKEN_FILE = "run-token-key"  # noqa: S105 (the name of a file)
SERVERS = ("postgres", "valkey", "seaweed")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the table is computed from."""

    repository: Path
    layout: Layout
    ports: Ports
    secrets: Secrets

    @property
    def public_url(self) -> str:
        return f"http://localhost:{self.ports.gateway}"

    @property
    def issuer_url(self) -> str:
        return f"http://localhost:{self.ports.issuer}/realms/{REALM}"

    @property
    def s3_public_url(self) -> str:
        """The URL clients sign for; the server behind it is told, so that signatures match."""
        return f"http://localhost:{self.ports.s3}"

    def files(self, **names: str) -> dict[str, str]:
        """Point NAME_FILE variables at secrets."""
        return {f"{variable}_FILE": str(self.secrets.path(name)) for variable, name in names.items()}


def services(facts: Facts, options: Options) -> list[Process]:
    """Write the table, in the order of dependency."""
    data = ("postgres", "valkey")
    rows = [
        _web(facts, "issuer", issuer(facts), needs=("postgres",)),
        _web(facts, "outputs", outputs(facts), needs=("postgres", "seaweed")),
        _web(facts, "jobs", jobs(facts), needs=SERVERS),
        _watch(facts, needs=data),
        _web(facts, "gateway", gateway(facts), needs=(*data, "issuer", "jobs", "jobs-watch", "outputs")),
        _worker(facts, "dispatcher", ("jobs.dispatcher",), dispatcher(facts), needs=data),
        _worker(facts, "courier", ("jobs.courier",), courier(facts), needs=data),
        *(_executor(facts, number) for number in range(1, options.executors + 1)),
    ]
    return [_told(facts, row, options) for row in rows]


def gateway(facts: Facts) -> dict[str, str]:
    ports = facts.ports
    return {
        "FAILED_AUTH_LIMIT": "100000",  # tests fail on purpose, all from one address
        "WEB_WORKER_CLASS": "gateway.relay.worker.RelayWorker",
        "OAUTH2_ISSUER": facts.issuer_url,
        "OAUTH2_AUDIENCE": AUDIENCE,
        "ISSUER_URL": facts.issuer_url,
        "PUBLIC_URL": facts.public_url,
        "ROUTES_FILE": str(facts.repository / "deploy" / "gateway" / "routes.yaml"),
        "JOBS_URL": f"http://127.0.0.1:{ports.jobs}",
        "JOBS_WATCH_URL": f"http://127.0.0.1:{ports.watch}",
        "OUTPUTS_URL": f"http://127.0.0.1:{ports.outputs}",
        "ISSUER_UPSTREAM_URL": f"http://127.0.0.1:{ports.issuer}",
    } | facts.files(
        DATABASE_URL="database-url-gateway",
        REDIS_URL="redis-url-gateway",
        JOBS_SIGNING_KEY="signing-key-jobs-from-gateway",
        OUTPUTS_SIGNING_KEY="signing-key-outputs-from-gateway",
    )


def issuer(facts: Facts) -> dict[str, str]:
    return {
        "ISSUER_URL": facts.issuer_url,
        "ISSUER_AUDIENCE": AUDIENCE,
        "TOKEN_LIFETIME_SECONDS": "3600",
    } | facts.files(DATABASE_URL="database-url-gateway", SEALING_KEYS="sealing-keys-issuer")


def jobs(facts: Facts) -> dict[str, str]:
    return {
        **TIMEOUTS,
        **_storage(facts, "jobs"),
        "ODS_ALLOWED_HOSTS": "127.0.0.0/8 ::1",
        **facts.files(
            DATABASE_URL="database-url-jobs",
            REDIS_URL="redis-url-jobs",
            SIGNATURE_KEYS="signature-keys-jobs",
            RUN_TOKEN_KEY=RUN_TOKEN_FILE,
            SEALING_KEYS="sealing-keys-jobs",
        ),
    }


def watch(facts: Facts) -> dict[str, str]:
    return {
        "WEB_WORKERS": "1",  # a caller's streams are counted by each
        "WEB_CONNECTIONS": "20000",
        "TICK_SECONDS": TIMEOUTS["TICK_SECONDS"],
    } | facts.files(
        DATABASE_URL="database-url-jobs", REDIS_URL="redis-url-jobs", SIGNATURE_KEYS="signature-keys-jobs"
    )


def outputs(facts: Facts) -> dict[str, str]:
    return _storage(facts, "outputs") | facts.files(
        DATABASE_URL="database-url-outputs", SIGNATURE_KEYS="signature-keys-outputs"
    )


def dispatcher(facts: Facts) -> dict[str, str]:
    return TIMEOUTS | facts.files(
        DATABASE_URL="database-url-jobs", REDIS_URL="redis-url-jobs", RUN_TOKEN_KEY=RUN_TOKEN_FILE
    )


def courier(facts: Facts) -> dict[str, str]:
    return {
        "OUTPUTS_URL": f"http://127.0.0.1:{facts.ports.outputs}",
        "WEBHOOK_ALLOWED_HOSTS": "127.0.0.0/8 ::1",
    } | facts.files(
        DATABASE_URL="database-url-jobs",
        REDIS_URL="redis-url-jobs",
        OUTPUTS_SIGNING_KEY="signing-key-outputs-from-courier",
        SEALING_KEYS="sealing-keys-jobs",
    )


def _storage(facts: Facts, service: str) -> dict[str, str]:
    return {
        "S3_URL": f"http://127.0.0.1:{facts.ports.s3}",
        "S3_PUBLIC_URL": facts.s3_public_url,
        "S3_REGION": REGION,
        "S3_BUCKET": BUCKETS[service],
    } | facts.files(S3_ACCESS_KEY=f"s3-access-key-{service}", S3_SECRET_KEY=f"s3-secret-key-{service}")


def _web(
    facts: Facts, name: str, environment: Mapping[str, str], needs: tuple[str, ...], door: str = ""
) -> Process:
    port, metrics_port = getattr(facts.ports, name), getattr(facts.ports, f"{name}_metrics")
    return Process(
        name=name,
        command=this_python("gunicorn", "-c", "python:common.serving", f"{door or f'{name}.wsgi'}:build()"),
        folder=facts.repository,
        environment={"PORT": str(port), "METRICS_PORT": str(metrics_port), **WEB, **environment},
        ports={variable_of(name): port, variable_of(f"{name}_metrics"): metrics_port},
        is_ready=answers_ok(f"http://127.0.0.1:{port}/readyz"),
        needs=needs,
    )


def _watch(facts: Facts, needs: tuple[str, ...]) -> Process:
    return replace(_web(facts, "watch", watch(facts), needs, door="jobs.watch"), name="jobs-watch")


def _worker(
    facts: Facts, name: str, module: tuple[str, ...], environment: Mapping[str, str], needs: tuple[str, ...]
) -> Process:
    port = getattr(facts.ports, f"{name}_metrics")
    return Process(
        name=name,
        command=this_python(*module),
        folder=facts.repository,
        environment={"METRICS_PORT": str(port), **environment},
        ports={variable_of(f"{name}_metrics"): port},
        is_ready=answers_ok(f"http://127.0.0.1:{port}/metrics"),
        needs=needs,
    )


def _executor(facts: Facts, number: int) -> Process:
    name = "executor" if number == 1 else f"executor-{number}"
    port = facts.ports.executor_metrics + number - 1
    environment = {
        "GATEWAY_URL": f"http://127.0.0.1:{facts.ports.gateway}",
        "POOL": "default",
        "EXECUTOR_NAME": f"local-{number}",
        "WORK_FOLDER": str(facts.layout.work(name)),
        "METRICS_PORT": str(port),
        "HEARTBEAT_TIMEOUT_SECONDS": TIMEOUTS["HEARTBEAT_TIMEOUT_SECONDS"],
    }
    return Process(
        name=name,
        command=this_python("executor"),
        folder=facts.repository,
        environment=environment | facts.files(REDIS_URL="redis-url-executor"),
        ports={variable_of("executor_metrics"): port},
        is_ready=answers_ok(f"http://127.0.0.1:{port}/metrics"),
        needs=("valkey", "gateway"),
        stops_as_group=False,  # it ends its own children, in order
        rank=30,
    )


def _told(facts: Facts, process: Process, options: Options) -> Process:
    shared = {"LOG_LEVEL": "info", "TMPDIR": str(facts.layout.temporary), "PYTHONUNBUFFERED": "1"}
    environment = {**shared, **process.environment, **options.overrides(process.name)}
    return replace(process, environment=environment)
