from pathlib import Path

import pytest

from stack.checkout import repository_root
from stack.layout import Layout
from stack.plan import with_argument, with_verb
from stack.ports import Ports
from stack.processes import Options, Plan
from stack.running import Stack, make_stack
from stack.welcome import EXAMPLE_CLIENTS


def make(tmp_path: Path, options: Options | None = None) -> Stack:
    return make_stack(repository_root(), Layout(root=tmp_path / "state"), Ports(), options or Options())


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return make(tmp_path).plan


def test_no_secret_stands_in_a_command_line_or_an_environment(tmp_path: Path) -> None:
    stack = make(tmp_path)
    secrets = {path.read_text() for path in stack.layout.secrets.iterdir()}
    texts = [(*process.command, *process.environment.values()) for process in stack.plan.processes]
    told = [text for each in texts for text in each]
    assert not [text for text in told if any(secret in text for secret in secrets)]


def test_every_file_a_process_is_pointed_at_exists(plan: Plan) -> None:
    told = [process.environment for process in plan.processes]
    told += [command.environment for command in (*plan.migrations, *plan.seeds)]
    pointed = [
        value
        for environment in told
        for name, value in environment.items()
        if name.endswith("_FILE") and name != "ROUTES_FILE"
    ]
    assert pointed
    assert all(Path(path).is_file() for path in pointed)


def test_every_need_is_a_process_named_earlier(plan: Plan) -> None:
    names = [process.name for process in plan.processes]
    assert all(set(each.needs) <= set(names[: names.index(each.name)]) for each in plan.processes)


def test_all_ports_of_the_plan_differ_and_lie_below_client_sockets(plan: Plan) -> None:
    ports = [port for process in plan.processes for port in process.ports.values()]
    assert len(set(ports)) == len(ports)
    assert max(ports) < 32_768


def test_a_process_is_told_what_was_overridden_closest_to_it(tmp_path: Path) -> None:
    told = {"*": {"A": "all", "B": "all"}, "executor": {"B": "family"}, "jobs": {"A": "jobs"}}
    plan = make(tmp_path, Options(environment=told, executors=2)).plan
    assert plan.named("jobs").environment["A"] == "jobs"
    assert plan.named("executor-2").environment["A"] == "all"
    assert plan.named("executor-2").environment["B"] == "family"
    assert "A" not in plan.named("postgres").environment


def test_processes_can_be_left_out(tmp_path: Path) -> None:
    plan = make(tmp_path, Options(without=frozenset({"courier"}))).plan
    assert "courier" not in [process.name for process in plan.processes]


def test_the_clients_shown_are_the_clients_seeded() -> None:
    text = (repository_root() / "deploy" / "local" / "clients.yaml").read_text(encoding="utf-8")
    assert all(
        f"client_id: {name}" in text and f"secret: {secret}" in text for name, secret, _ in EXAMPLE_CLIENTS
    )


def test_another_command_of_a_service_is_told_what_its_sibling_is(plan: Plan) -> None:
    seed = plan.seed("import-bundles")
    roster = with_argument(with_verb(seed, "roster"), "roster.jsonl", "--year=2026")
    assert roster.command[-4:] == ("jobs.cli", "roster", "roster.jsonl", "--year=2026")
    assert roster.environment == seed.environment
