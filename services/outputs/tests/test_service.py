"""What holds for the service as a whole."""

import re
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from common import settings
from common.api import Access
from outputs.config import OutputsSettings
from outputs.problems import PROBLEMS
from outputs.publication import OutcomeDiffers
from outputs.sets import SetError

FOLDER = Path(__file__).parents[1]
README = (FOLDER / "README.md").read_text()


def test_the_readme_lists_every_environment_variable_and_no_other() -> None:
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| (yes|no) \|", README, flags=re.MULTILINE)
    declared = [
        (variable.name, "yes" if variable.is_required else "no")
        for variable in settings.variables(OutputsSettings)
    ]
    assert rows == declared


def test_the_readme_lists_every_endpoint_and_no_other(door: Any) -> None:
    rows = re.findall(r"^\| (GET|POST|PUT) \| `([^`]+)` \|", README, flags=re.MULTILINE)
    served = {
        (method, re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in door.app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert set(rows) == served


def test_every_view_says_who_may_call_it(door: Any) -> None:
    views = {name: view for name, view in door.app.view_functions.items() if not name.startswith("health.")}
    assert views
    for name, view in views.items():
        access = getattr(view, "access", None)
        assert isinstance(access, Access), name
        assert not access.anyone, name
        assert access.scopes or access.kinds == ("service",), name


def test_only_services_are_admitted_under_internal(door: Any) -> None:
    for rule in door.app.url_map.iter_rules():
        view = door.app.view_functions[rule.endpoint]
        is_internal = rule.rule.startswith("/internal/")
        assert is_internal == (getattr(view, "access", Access()).kinds == ("service",))


def test_every_error_has_a_row_in_the_problem_table() -> None:
    assert {*SetError.__subclasses__(), OutcomeDiffers} == set(PROBLEMS)


def test_the_migrations_have_one_head() -> None:
    assert ScriptDirectory.from_config(Config(FOLDER / "alembic.ini")).get_heads() == ["0001"]


def test_the_service_cannot_change_its_schema(engine: Engine) -> None:
    with engine.connect() as connection:
        row = connection.execute(
            text(
                "SELECT has_schema_privilege('outputs', 'outputs', 'CREATE'),"
                " has_table_privilege('outputs', 'output_set', 'TRUNCATE')"
            )
        ).one()
    assert tuple(row) == (False, False)


def test_readiness_names_what_the_service_depends_on(door: Any) -> None:
    answer = door.app.test_client().get("/readyz")
    assert answer.json == {
        "status": "ready",
        "dependencies": {"postgresql": True, "object-storage": True},
    }


def test_the_openapi_document_shows_the_public_operations(door: Any) -> None:
    paths = door.app.extensions["openapi"].to_dict()["paths"]
    parameters = paths["/api/v1/output-sets"]["get"]["parameters"]
    names = {each["name"] for each in parameters if each["in"] == "query"}
    assert names == {
        "partner", "sentToOds", "createdAfter", "schoolYear", "tenant", "bundle", "limit", "cursor",
    }  # fmt: skip
    assert "/sdk/v1/runs/{run}/output-sets/{set_uid}/seal" in paths
