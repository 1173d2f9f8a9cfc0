"""What a stack consists of: every process, what it is told, when it is ready, what must stand before it.

Secrets are told as NAME_FILE, the path of a 0600 file; none stands here, in a command line or in the
supervisor's configuration. The one exception lives in the environment of a seeding command, which ends.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from stack import postgres, seaweed, valkey
from stack.launch import Launch, this_python
from stack.layout import Layout
from stack.ports import Ports
from stack.processes import Command, Options, Plan, Process
from stack.secrets import Secrets
from stack.services import SERVERS, Facts, gateway, issuer, jobs, services

LOCAL_PARTNERS = Path("deploy") / "local" / "partners.yaml"
LOCAL_CLIENTS = Path("deploy") / "local" / "clients.yaml"
LOCAL_BUNDLES = Path("bundles")
SCHEMA_TREES = {"gateway": "auth-gateway", "jobs": "jobs", "outputs": "outputs"}


def make_plan(repository: Path, layout: Layout, ports: Ports, secrets: Secrets, options: Options) -> Plan:
    """Lay out a whole stack. Touches nothing; raises ProgramMissing when a server is not installed."""
    facts = Facts(repository=repository, layout=layout, ports=ports, secrets=secrets)
    processes = [*_servers(facts, options), *services(facts, options)]
    return Plan(
        processes=tuple(process for process in processes if process.name not in options.without),
        migrations=tuple(_migration(facts, schema, tree) for schema, tree in SCHEMA_TREES.items()),
        seeds=_seeds(facts, options.seed_environment),
    )


def _servers(facts: Facts, options: Options) -> list[Process]:
    layout, ports, secrets = facts.layout, facts.ports, facts.secrets
    folders = {name: layout.server(name) for name in SERVERS}
    inner = {f"S3_INTERNAL_PORT, {place} after it": port for place, port in enumerate(ports.inner_s3())}
    return [
        _server(
            postgres.launch(folders["postgres"], ports.postgres, secrets, options=options.postgres_options),
            {"POSTGRES_PORT": ports.postgres},
        ),
        _server(valkey.launch(folders["valkey"], ports.redis, secrets), {"REDIS_PORT": ports.redis}),
        _server(
            seaweed.launch(folders["seaweed"], ports.s3, ports.inner_s3(), facts.s3_public_url),
            {"S3_PORT": ports.s3, **inner},
        ),
    ]


def _server(launch: Launch, ports: Mapping[str, int]) -> Process:
    return Process(
        name=launch.name,
        command=launch.command,
        folder=launch.folder,
        environment=launch.environment,
        ports=ports,
        is_ready=launch.is_ready,
        stop_signal=launch.stop_signal,
        stops_as_group=False,  # PostgreSQL tells its own children
        leftovers=launch.leftovers,
        rank=10,
    )


def _migration(facts: Facts, schema: str, tree: str) -> Command:
    return Command(
        name=f"migrate-{schema}",
        command=this_python("alembic", "-c", f"services/{tree}/alembic.ini", "upgrade", "head"),
        folder=facts.repository,
        environment=facts.files(MIGRATION_DATABASE_URL=f"database-url-{schema}_owner"),
    )


def _seeds(facts: Facts, told: Mapping[str, str]) -> tuple[Command, ...]:
    clients = gateway(facts) | issuer(facts)
    provisioning = {**jobs(facts), **_example_ods(facts.secrets), **told}
    return (
        _seed(facts, "seed-clients", ("gateway.cli", "seed", str(LOCAL_CLIENTS)), clients),
        _seed(facts, "provision", ("jobs.cli", "provision", str(LOCAL_PARTNERS)), provisioning),
        _seed(facts, "import-bundles", ("jobs.cli", "import-bundles", str(LOCAL_BUNDLES)), provisioning),
    )


def _seed(facts: Facts, name: str, arguments: tuple[str, ...], environment: Mapping[str, str]) -> Command:
    return Command(
        name=name, command=this_python(*arguments), folder=facts.repository, environment=dict(environment)
    )


def _example_ods(secrets: Secrets) -> dict[str, str]:
    return {
        "EXAMPLE_ODS_CLIENT_ID": secrets.read("example-ods-client-id"),
        "EXAMPLE_ODS_CLIENT_SECRET": secrets.read("example-ods-client-secret"),
    }


def with_argument(command: Command, *arguments: str) -> Command:
    """Give a seeding another file or folder, and options, than the local stack's own."""
    return replace(command, command=(*command.command[:-1], *arguments))


def with_verb(command: Command, verb: str) -> Command:
    """Make another command of the same program, told the same."""
    return replace(command, name=verb, command=(*command.command[:-2], verb, command.command[-1]))
