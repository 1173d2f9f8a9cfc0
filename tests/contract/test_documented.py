"""The OpenAPI document that clients get: complete, true to its own schemas, and without what is internal."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

DOCUMENT: dict[str, Any] = json.loads(
    Path("services/auth-gateway/src/gateway/api/openapi.json").read_text(encoding="utf-8")
)
METHODS = ("get", "put", "post", "delete", "patch")


def operations() -> Iterator[Any]:
    for path, item in DOCUMENT["paths"].items():
        for method in METHODS:
            if method in item:
                yield pytest.param(item[method], id=f"{method.upper()} {path}")


def contents(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for place in (operation.get("requestBody", {}), *operation["responses"].values()):
        yield from place.get("content", {}).values()


def fits(schema: dict[str, Any], example: Any) -> bool:
    whole = {**schema, "components": DOCUMENT["components"]}
    return jsonschema_rs.validator_for(whole).is_valid(example)


@pytest.mark.parametrize("operation", operations())
def test_an_operation_has_a_name_a_summary_and_a_description(operation: dict[str, Any]) -> None:
    assert operation["operationId"].isalnum()
    assert operation["summary"].endswith((".", ":"))
    assert "Needs " in operation["description"]
    assert operation["tags"]


@pytest.mark.parametrize("operation", operations())
def test_an_operation_names_each_scope_it_asks_for(operation: dict[str, Any]) -> None:
    for alternative in operation["security"]:
        for scope in alternative["bearer"]:
            assert f"`{scope}`" in operation["description"]


@pytest.mark.parametrize("operation", operations())
def test_an_operation_documents_what_it_refuses(operation: dict[str, Any]) -> None:
    expected = {"400", "503"} | ({"401", "403"} if operation["security"] else set())
    if "requestBody" in operation:
        expected.add("413")
    if any(parameter["in"] == "path" for parameter in operation["parameters"]):
        expected.add("404")
    assert expected <= set(operation["responses"])
    assert "default" not in operation["responses"]


@pytest.mark.parametrize("operation", operations())
def test_bodies_and_answers_have_examples_that_fit_their_schemas(operation: dict[str, Any]) -> None:
    for content in contents(operation):
        examples = [each["value"] for each in content.get("examples", {}).values()]
        examples += [content["example"]] if "example" in content else []
        assert examples or content["schema"] == {"$ref": "#/components/schemas/Problem"}
        assert [example for example in examples if not fits(content["schema"], example)] == []


def test_every_operation_has_its_own_name() -> None:
    names = [each.values[0]["operationId"] for each in operations()]
    assert len(set(names)) == len(names)


def test_what_services_say_among_themselves_is_not_in_it() -> None:
    assert [
        path
        for path in DOCUMENT["paths"]
        if not path.startswith(("/api/", "/sdk/", "/v1/", "/oauth/", "/realms/", "/auth/"))
    ] == []
