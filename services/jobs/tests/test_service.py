"""What must hold for the whole service, whatever is added to it."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from common import settings
from jobs.config import CourierSettings, DispatcherSettings, JobsSettings, WatchSettings
from jobs.problems import PROBLEMS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROCESSES = {
    "jobs": JobsSettings,
    "jobs-watch": WatchSettings,
    "dispatcher": DispatcherSettings,
    "courier": CourierSettings,
}


@pytest.mark.parametrize("process", PROCESSES)
def test_the_readme_lists_exactly_the_variables_a_process_reads(process: str) -> None:
    table = README.partition(f"### {process}\n")[2].partition("\n#")[0]
    listed = {
        (name, need == "yes") for name, need in re.findall(r"^\| `(\w+)` \| (yes|no) \|", table, re.MULTILINE)
    }
    declared = settings.variables(PROCESSES[process])
    assert listed == {(variable.name, variable.is_required) for variable in declared}


@pytest.mark.parametrize("cls", PROCESSES.values())
def test_every_missing_variable_is_named_at_once(cls: Any) -> None:
    with pytest.raises(settings.SettingsError) as caught:
        settings.load(cls, {})
    required = [variable for variable in settings.variables(cls) if variable.is_required]
    assert len(caught.value.faults) == len(required)


def test_every_view_declares_who_may_call_it(app: Any) -> None:
    views = {name: view for name, view in app.view_functions.items() if not name.startswith("health.")}
    assert [name for name, view in views.items() if not hasattr(view, "access")] == []


def test_every_endpoint_for_clients_is_in_the_readme(app: Any) -> None:
    rules = [
        rule for rule in app.url_map.iter_rules() if rule.rule.startswith(("/api/", "/v1/", "/internal/"))
    ]
    for rule in rules:
        path = rule.rule.replace("<", "{").replace(">", "}")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            assert f"| {method} | `{path}` |" in README, f"{method} {path}"


def test_the_openapi_document_describes_every_view(app: Any) -> None:
    with app.app_context():
        document = app.extensions["openapi"].to_dict()
    for path, operations in document["paths"].items():
        for method in set(operations) - {"parameters"}:
            assert operations[method].get("summary"), f"{method} {path}"


def test_migrations_have_one_head() -> None:
    scripts = ScriptDirectory.from_config(Config(str(ROOT / "alembic.ini")))
    assert len(scripts.get_heads()) == 1


def test_every_error_of_the_table_has_a_sentence_of_its_own() -> None:
    for error in PROBLEMS:
        assert error.__doc__ or error.__base__ is not Exception, error.__name__


def test_importing_the_doors_opens_no_connection() -> None:
    refuse = "import socket; socket.socket.connect = None"
    doors = "import jobs.wsgi, jobs.watch, jobs.cli, jobs.dispatcher, jobs.courier"
    done = subprocess.run([sys.executable, "-c", f"{refuse}; {doors}"], timeout=60, check=False, env={})
    assert done.returncode == 0
