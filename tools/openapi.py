"""Write each service's OpenAPI document to docs/api, from its code; `--check` compares instead.

The public operations of all of them make one more document, which the gateway serves at /api/openapi.json.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

FOLDER = Path("docs/api")
MERGED = Path("services/auth-gateway/src/gateway/api/openapi.json")
SERVICES = ("gateway", "issuer", "jobs", "jobs-watch", "outputs")
DOORS = {"jobs-watch": "jobs.watch"}  # where a process is made that is no service of its own
OF_THE_GATEWAY = "gateway"
INFO = {
    "title": "Taxiway API",
    "version": "v1",
    "description": (
        "Create jobs, follow them, fetch what they made.\n\n"
        "Log in with a token of an OpenID Connect issuer this installation believes, or with one of its own "
        "(`Login`). A token's scopes say what it may do, each scope `partner:<code>` for whom. `Executor` is "
        "for the programs that do the work: they hold the token of one run.\n\n"
        "Every error is `application/problem+json` (RFC 9457); its `type` names the rule. Every answer has "
        "an `X-Request-Id`: name it when you ask for help. A slash at the end changes nothing.\n\n"
        "Every answer to a caller we know says what is left of its hour: `X-RateLimit-Limit`, "
        "`X-RateLimit-Remaining` and `X-RateLimit-Reset` (epoch seconds). After that comes 429 with "
        "`Retry-After`."
    ),
}
# What the gateway itself says when the service behind it does not answer.
BEHIND = {
    "502": "A service behind the gateway did not answer properly. Try again.",
    "504": "A service behind the gateway did not answer in time. Try again.",
}
LIMITED = "The requests of this hour are used up. Try again in 60 seconds."
_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def document(service: str) -> dict[str, Any]:
    """Build the service's application without anything behind it, and take its document."""
    app = importlib.import_module(DOORS.get(service, f"{service}.app")).create_app(MagicMock())
    with app.app_context():
        made: dict[str, Any] = app.extensions["openapi"].to_dict()
    return made


def merge(documents: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Put the public operations of all services into one document.

    Raises ValueError where two services mean different things by one name.
    """
    merged: dict[str, Any] = {"openapi": "3.1.0", "info": INFO, "tags": [], "paths": {}}
    components: dict[str, dict[str, Any]] = {}
    for service, each in documents.items():
        paths = {path: item for path, item in each["paths"].items() if not path.startswith("/internal/")}
        merged["paths"] |= json.loads(json.dumps(paths))
        _add_answers_of_the_gateway(merged["paths"], paths, BEHIND if service != OF_THE_GATEWAY else {})
        for kind, name in sorted(set(_references(each, paths)) | {("securitySchemes", "bearer")}):
            _add(components.setdefault(kind, {}), name, each["components"][kind][name])
    operations = [operation for item in merged["paths"].values() for operation in item.values()]
    names = [operation["operationId"] for operation in operations]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"two operations are called {', '.join(sorted(twice))}")
    merged["tags"] = [{"name": tag} for tag in sorted({tag for each in operations for tag in each["tags"]})]
    return {**merged, "components": {kind: dict(sorted(components[kind].items())) for kind in components}}


def _add_answers_of_the_gateway(
    merged: dict[str, Any], paths: Mapping[str, Any], behind: Mapping[str, str]
) -> None:
    header = {"Retry-After": {"schema": {"type": "string"}}}
    answers = {status: {"description": sentence, "content": _PROBLEM} for status, sentence in behind.items()}
    answers["429"] = {"description": LIMITED, "content": _PROBLEM, "headers": header}
    for operation in [operation for path in paths for operation in merged[path].values()]:
        operation["responses"] = dict(sorted((answers | operation["responses"]).items()))


def _references(whole: dict[str, Any], part: Any) -> Iterator[tuple[str, str]]:
    """Find what a part of a document refers to, and what that refers to in turn."""
    if isinstance(part, dict):
        if "$ref" in part:
            _, _, kind, name = part["$ref"].split("/")
            yield kind, name
            yield from _references(whole, whole["components"][kind][name])
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _references(whole, inner)


def _add(components: dict[str, Any], name: str, meaning: Any) -> None:
    if components.setdefault(name, meaning) != meaning:
        raise ValueError(f"two services mean different things by {name}")


def documents() -> dict[Path, str]:
    """Render every document by the path it is kept at."""
    made = {service: document(service) for service in SERVICES}
    kept = {FOLDER / f"{service}.json": each for service, each in made.items()} | {MERGED: merge(made)}
    return {path: _written(path, each) for path, each in kept.items()}


def _written(path: Path, document: dict[str, Any]) -> str:
    """People read the documents of the services; the merged one is for the gateway to serve."""
    if path == MERGED:
        return json.dumps(document, separators=(",", ":"), ensure_ascii=False) + "\n"
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when a committed document is not current")
    check = parser.parse_args().check
    stale = []
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in documents().items():
        if check and (not path.exists() or path.read_text() != text):
            stale.append(str(path))
        if not check:
            path.write_text(text)
    if stale:
        sys.exit(f"Not current: {', '.join(stale)}. Run: make openapi")
    print(f"OpenAPI documents: {'current' if check else f'written to {FOLDER} and {MERGED.parent}'}")


if __name__ == "__main__":
    main()
