"""Examples for OpenAPI documents, made from the schemas and from one word for one noun.

A field's own example wins, then its enumeration, then what its name always means here, then its format.
"""

from collections.abc import Mapping
from typing import Any

UID = "0b8f6a3c-52c1-4f6e-9a0d-7d1f0f6f2b11"
INSTANT = "2026-03-02T09:30:00.000Z"
TOKEN = "eyJhbGciOi…"  # noqa: S105 (an ellipsis is no secret)
WORDS: Mapping[str, Any] = {
    "action": "tenant.added",
    "actor": "client:runway-admin",
    "allowedValues": ["PSAT", "SAT"],
    "at": INSTANT,
    "attempt": 1,
    "bundle": "assessments/PSAT_SAT",
    "clientId": "runway-api",
    "clientName": "Runway API client",
    "clientSecret": "its secret",
    "code": "ea",
    "concurrency_key": "ea/2026",
    "counts": {"studentAssessments": 1024},
    "created_by": "runway-api",
    "createdAfter": "2026-03-01T00:00:00.000Z",
    "cursor": "WzE3NzI0NDM4MDAwMDBd",
    "displayName": "PSAT/SAT",
    "downloadUrl": f"/api/v1/output-sets/{UID}/download-links",
    "error": "Row 7 has no student id",
    "error_class": "user",
    "error_code": "invalid-input",
    "executor": "executor-1",
    "file": "gradeLevelDescriptor.csv",
    "fileTypes": ["csv"],
    "files": ["studentAssessments.jsonl"],
    "finishedAt": "2026-03-02T09:31:12.480Z",
    "group": "assessments",
    "heartbeat_interval_secs": 15.0,
    "heartbeat_timeout_secs": 60.0,
    "issuer": "https://login.example/realms/example",
    "key": "INPUT_FILE",
    "kind": "result",
    "level": "info",
    "limit": "100",
    "message": "Transforming",
    "name": "Education Agency",
    "next": "WzE3NzI0NDM4MDAwMDBd",
    "odsTenants": ["ea"],
    "params": {"TEST_TYPE": "SAT"},
    "partner": "ea",
    "partners": ["ea"],
    "percent": 60.0,
    "priority": 5,
    "project_id": "ea",
    "realm": "example",
    "reportResources": ["studentAssessments"],
    "run": UID,
    "runToken": TOKEN,
    "run_token": TOKEN,
    "schoolYear": "2026",
    "scopes": ["create:jobs", "read:jobs", "read:jobs:output-files"],
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "status": "completed",
    "step": "transform",
    "studentIdName": "Student ID",
    "subject": "ea/ea",
    "tags": ["nightly"],
    "tenant": "ea",
    "triggered_by": "api",
    "type": "log",
    "uid": UID,
    "uploadUrls": {"INPUT_FILE": "https://files.example/signed"},
    "warnings": [],
    "year": "2026",
}
_ENDINGS = {"_at": INSTANT, "At": INSTANT, "_id": UID, "_uid": UID, "Uid": UID, "_of": UID}
_FORMATS = {
    "uuid": UID,
    "date-time": INSTANT,
    "uri": "https://files.example/signed",
    "url": "https://a.example",
}
_PLAIN: Mapping[str, Any] = {"integer": 1, "number": 1.0, "boolean": True, "null": None}
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
}
Schemas = Mapping[str, Any]


def fill(operation: dict[str, Any], schemas: Schemas) -> None:
    """Give every parameter, body and answer of an operation an example, unless it has one."""
    for parameter in operation["parameters"]:
        # What is left out of a query asks for everything: an example there would filter.
        if parameter.get("required") and not {"example", "examples"} & set(parameter):
            parameter["example"] = str(sample(parameter["name"], parameter["schema"], schemas))
    places = [operation.get("requestBody", {}), *operation["responses"].values()]
    for content in [each for place in places for each in place.get("content", {}).values()]:
        if not {"example", "examples"} & set(content) and content.get("schema"):
            content["example"] = sample("", content["schema"], schemas)


def sample(name: str, schema: Mapping[str, Any], schemas: Schemas) -> Any:
    """Make an example of what a schema describes; `name` is the property it stands under."""
    if "$ref" in schema:
        return sample(name, schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if alternatives := schema.get("anyOf") or schema.get("oneOf"):
        return sample(name, alternatives[0], schemas)
    for given in ("example", "const", "default"):
        if schema.get(given) not in (None, ""):
            return schema[given]
    if choices := schema.get("examples") or schema.get("enum"):
        return choices[0]
    return _of_type(name, schema, schemas)


def _of_type(name: str, schema: Mapping[str, Any], schemas: Schemas) -> Any:
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if isinstance(WORDS.get(name), _TYPES.get(kind, ())) and _is_plain(schema):
        return WORDS[name]
    if kind == "object":
        properties = schema.get("properties", {})
        return {each: sample(each, inner, schemas) for each, inner in properties.items()}
    if kind == "array":
        return [sample(name, schema.get("items", {}), schemas)]
    return _text(name, schema) if kind == "string" else _PLAIN[kind]


def _is_plain(schema: Mapping[str, Any]) -> bool:
    """Whether a word can stand for it: no object with properties of its own, no list of such."""
    return (
        not schema.get("properties")
        and schema.get("items", {}).get("type", "string") == "string"
        and ("$ref" not in schema.get("items", {}))
    )


def _text(name: str, schema: Mapping[str, Any]) -> str:
    endings = [value for ending, value in _ENDINGS.items() if name.endswith(ending)]
    return _FORMATS.get(schema.get("format", "")) or (endings or ["text"])[0]
