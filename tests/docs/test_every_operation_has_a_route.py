"""Every operation in docs/api is reached by one route of the gateway, and what is internal by none."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from operations import Operation, operations

FILE = Path(__file__).resolve().parents[2] / "deploy" / "gateway" / "routes.yaml"
ROUTES: list[dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["routes"]
ALL = operations()


def fits(route: dict[str, Any], operation: Operation) -> bool:
    words = {"*": "/[^/]+", "**": "(?:/.*)?"}
    segments = route["path"].split("/")[1:]
    pattern = "".join(words.get(segment, "/" + re.escape(segment)) for segment in segments)
    return operation.method in route["methods"] and bool(re.fullmatch(pattern, operation.path()))


@pytest.mark.parametrize("operation", [each for each in ALL if not each.is_internal], ids=str)
def test_a_public_operation_is_reached_by_exactly_one_route_of_its_service(operation: Operation) -> None:
    fitting = [route for route in ROUTES if fits(route, operation)]
    assert fitting, "no route leads there"
    assert fitting[0]["to"] == operation.service  # the first match wins
    assert [route["to"] for route in fitting].count(operation.service) == 1
    assert (fitting[0]["admits"] == ["anyone"]) == operation.is_open


@pytest.mark.parametrize("operation", [each for each in ALL if each.is_internal], ids=str)
def test_an_internal_operation_is_reached_by_no_route(operation: Operation) -> None:
    assert not [route for route in ROUTES if fits(route, operation)]
