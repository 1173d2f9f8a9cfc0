"""The FastAPI service beside ours, on the same database server, for the rows that compare with it."""

from sqlalchemy import text

from bench import peers
from bench.place import Place
from bench.stacks import Measured
from stack.launch import Server
from stack.ports import free_port
from stack.processes import answers_ok

TITLE = "FastAPI, asyncpg, boto3"
PACKAGES = ("fastapi", "uvicorn[standard]", "asyncpg", "boto3")
TABLES = ("job", "assessment", "run", "checkpoint")
EVENTS = (
    "CREATE TABLE bench.run_event (LIKE jobs.run_event INCLUDING ALL) PARTITION BY RANGE (run_id)",
    "CREATE TABLE bench.run_event_default PARTITION OF bench.run_event DEFAULT",
)


def make_tables(stack: Measured) -> None:
    """Make tables like ours, indexes included, in a schema of the peer's own."""
    alike = [f"CREATE TABLE bench.{name} (LIKE jobs.{name} INCLUDING ALL)" for name in TABLES]
    with stack.superuser().connect() as connection:
        for statement in ("CREATE SCHEMA bench", *alike, *EVENTS):
            connection.execute(text(statement))


def start(place: Place, stack: Measured) -> tuple[int, Server]:
    """Start the service with one worker; return its port and itself. Raises Missing."""
    programs, port = peers.python(*PACKAGES), free_port()
    access_key, secret_key = stack.local.stack.secrets.s3_keys("jobs")
    environment = {
        "DATABASE_URL": stack.dsn(),
        "S3_URL": stack.local.s3_url,
        "S3_BUCKET": stack.local.stack.plan.named("jobs").environment["S3_BUCKET"],
        "S3_ACCESS_KEY": access_key,
        "S3_SECRET_KEY": secret_key,
    }
    words = ("--app-dir", peers.CONFIGURATIONS, "--port", str(port), "--no-access-log", "fastapi_jobs:app")
    is_ready = answers_ok(f"http://127.0.0.1:{port}/openapi.json")
    return port, place.start("fastapi", (programs / "uvicorn", *words), is_ready, environment=environment)


def versions() -> dict[str, str]:
    """Tell what the service is made of."""
    return {name: peers.version(name) for name in ("fastapi", "uvicorn", "asyncpg", "boto3")}
