"""The operations our OpenAPI documents declare (docs/api), for tests that walk all of them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "api"
SERVICES = ("gateway", "issuer", "jobs", "jobs-watch", "outputs")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
SOME_UID = "00000000-0000-4000-8000-000000000000"
_TOKEN_ENDPOINT = re.compile(r".*/(token|token/introspect|revoke)")


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one path. `body` is a value of the body's schema, none where no body is taken."""

    service: str
    method: str
    template: str
    is_open: bool
    queries: tuple[str, ...]
    body: Any
    needs_body: bool

    def __str__(self) -> str:
        return f"{self.service}: {self.method} {self.template}"

    @property
    def is_internal(self) -> bool:
        return self.template.startswith("/internal/")

    @property
    def is_of_executors(self) -> bool:
        return self.template.startswith("/sdk/")

    @property
    def is_token_endpoint(self) -> bool:
        """Whether it answers errors as RFC 6749 §5.2 wants."""
        return self.service == "issuer" and bool(_TOKEN_ENDPOINT.fullmatch(self.template))

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters in the path."""
        return tuple(re.findall(r"{(\w+)}", self.template))

    def path(self, **values: str) -> str:
        """Fill the path; what is not given gets a value of the right form."""
        filled = {"realm": "example", "group": "assessments", "code": "ea", **values}
        return re.sub(r"{(\w+)}", lambda found: filled.get(found[1], SOME_UID), self.template)


def operations() -> list[Operation]:
    """Read every operation of every document, those that end a run last."""
    found = [each for service in SERVICES for each in _of(service)]
    return sorted(found, key=lambda each: each.template.endswith(("/fail", "/complete")))


def _of(service: str) -> list[Operation]:
    document = json.loads((FOLDER / f"{service}.json").read_text(encoding="utf-8"))
    return [
        _operation(document, service, method, template, item)
        for template, item in document["paths"].items()
        for method in item
        if method.upper() in METHODS
    ]


def _operation(
    document: Mapping[str, Any], service: str, method: str, template: str, item: Mapping[str, Any]
) -> Operation:
    told = item[method]
    parameters = [
        _resolved(document, each) for each in (*item.get("parameters", ()), *told.get("parameters", ()))
    ]
    body = _resolved(document, told.get("requestBody", {}))
    schema = body.get("content", {}).get("application/json", {}).get("schema")
    return Operation(
        service=service,
        method=method.upper(),
        template=template,
        is_open=told.get("security") == [],
        queries=tuple(each["name"] for each in parameters if each["in"] == "query"),
        body=_example(document, schema, 0) if schema else None,
        needs_body=bool(body.get("required")),
    )


def _resolved(document: Mapping[str, Any], value: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in value:
        return value
    found: Any = document
    for name in value["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return _resolved(document, found)


def _example(document: Mapping[str, Any], schema: Mapping[str, Any], depth: int) -> Any:
    """Write a value of the right types; what its texts say is up to the test."""
    schema = _resolved(document, schema)
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "array":
        return [_example(document, schema.get("items", {}), depth + 1)] if depth < 5 else []
    if kind in ("integer", "number", "boolean"):
        return {"integer": 1, "number": 1.5, "boolean": False}[kind]
    if kind == "string":
        return "text"
    properties = schema.get("properties", {}) if depth < 5 else {}
    return {name: _example(document, each, depth + 1) for name, each in properties.items()}
