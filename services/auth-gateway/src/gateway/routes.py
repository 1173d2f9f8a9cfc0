"""The route table: where a path leads and who may take it. Read once from YAML; the first match wins."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

KINDS = ("client", "api-key", "run")
ANYONE = "anyone"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
GATEWAY = "gateway"
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]+|\*")


class RoutesError(Exception):
    """The route table is faulty; `faults` has one sentence a fault."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(["The route table is not usable:", *(f"  - {fault}" for fault in faults)]))


@dataclass(frozen=True, kw_only=True)
class Route:
    """One line of the table; the head of routes.yaml says what each field means."""

    path: str
    methods: tuple[str, ...]
    to: str
    admits: tuple[str, ...]
    external_api: bool = False
    body_bytes: int = 1024 * 1024
    timeout_seconds: float = 60.0
    stream: bool = False

    def __post_init__(self) -> None:
        faults = [fault for fault, is_faulty in _faults(self) if is_faulty]
        if faults:
            raise RoutesError([f"{self.path}: {fault}" for fault in faults])

    @property
    def is_open(self) -> bool:
        """Whether anyone may come in without a token."""
        return ANYONE in self.admits

    @property
    def allows(self) -> tuple[str, ...]:
        """The methods it serves: HEAD wherever GET is (RFC 9110 §9.3.2)."""
        return (*self.methods, "HEAD") if "GET" in self.methods else self.methods


def _faults(route: Route) -> list[tuple[str, bool]]:
    segments = route.path.split("/")
    body = segments[1:-1] if segments[-1] == "**" else segments[1:]
    starred = bool(body) and body[0] == "*"
    return [
        ("a path begins with / and has plain segments, `*`, and `**` only at its end",
         segments[0] != "" or not body or not all(_SEGMENT.fullmatch(segment) for segment in body)),
        ("its first segment must be plain, or it would reach /internal", starred),
        ("/internal is never routed", bool(body) and body[0] == "internal"),
        ("methods must be some of " + " ".join(METHODS),
         not route.methods or bool(set(route.methods) - {*METHODS})),
        ("admits must be some of " + " ".join((*KINDS, ANYONE)),
         not route.admits or bool(set(route.admits) - {*KINDS, ANYONE})),
        ("anyone cannot be mixed with kinds", ANYONE in route.admits and len(route.admits) > 1),
        ("body_bytes must not be negative", route.body_bytes < 0),
        ("timeout_seconds must be positive", route.timeout_seconds <= 0),
    ]  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Match:
    """What the table says of a path and method: a route, or the methods the path does know."""

    route: Route | None = None
    allowed: tuple[str, ...] = ()


class Table:
    """The routes in their order. Routes to an upstream that is not configured are left out by `of()`."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)
        self._of_method = {method: _Alternatives(method, self.routes) for method in (*METHODS, "HEAD")}

    def of(self, upstreams: Mapping[str, Any]) -> "Table":
        """Keep the routes to our own resources and to these upstreams."""
        return Table([route for route in self.routes if route.to == GATEWAY or route.to in upstreams])

    def match(self, method: str, path: str) -> Match:
        """Find the first route of a path that serves the method. A trailing slash makes no difference."""
        bare = path.rstrip("/") or "/"
        alternatives = self._of_method.get(method)
        route = alternatives.first(bare) if alternatives else None
        return Match(route=route) if route else Match(allowed=self._allowed(bare))

    def _allowed(self, bare: str) -> tuple[str, ...]:
        fitting = (route for route in self.routes if re.fullmatch(_pattern(route.path), bare))
        return tuple(dict.fromkeys(method for route in fitting for method in route.allows))


class _Alternatives:
    """The routes of one method as one expression: a regular expression tries its branches in order."""

    def __init__(self, method: str, routes: Sequence[Route]) -> None:
        self._routes = [route for route in routes if method in route.allows]
        branches = (f"({_pattern(route.path)})" for route in self._routes)
        self._expression = re.compile(f"(?:{'|'.join(branches)})")

    def first(self, bare: str) -> Route | None:
        """Find the first route that fits the whole path."""
        found = self._expression.fullmatch(bare) if self._routes else None
        return self._routes[found.lastindex - 1] if found and found.lastindex else None


def _pattern(path: str) -> str:
    words = {"*": "/[^/]+", "**": "(?:/.*)?"}
    return "".join(words.get(segment, "/" + re.escape(segment)) for segment in path.split("/")[1:])


def load(path: Path, targets: Sequence[str]) -> Table:
    """Read the table; `targets` are the names `to` may have. Raises RoutesError naming every fault."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RoutesError([f"{path.name} cannot be read: {error.strerror}"]) from error
    except yaml.YAMLError as error:
        raise RoutesError([f"{path.name} is not YAML: {error}"]) from error
    lines = document.get("routes") if isinstance(document, dict) else None
    if not isinstance(lines, list) or not lines:
        raise RoutesError(["a list `routes` is expected"])
    return _table(lines, targets)


def _table(lines: list[Any], targets: Sequence[str]) -> Table:
    routes: list[Route] = []
    faults: list[str] = []
    for number, line in enumerate(lines, 1):
        try:
            routes.append(_route(line, targets))
        except RoutesError as error:
            faults += [f"route {number}: {fault}" for fault in error.faults]
    if faults:
        raise RoutesError(faults)
    return Table(routes)


_TYPES: dict[str, tuple[type, ...]] = {
    "path": (str,), "methods": (list,), "to": (str,), "admits": (list,), "external_api": (bool,),
    "body_bytes": (int,), "timeout_seconds": (int, float), "stream": (bool,),
}  # fmt: skip


def _route(line: Any, targets: Sequence[str]) -> Route:
    if not isinstance(line, dict):
        raise RoutesError(["an object is expected"])
    names = [each.name for each in fields(Route)]
    faults = [f"{name} is not a field of a route" for name in line if name not in names]
    faults += [f"{name} is missing" for name in names[:4] if name not in line]
    faults += [f"{name} has the wrong type" for name in names if name in line and not _fits(line[name], name)]
    if not faults and line["to"] not in targets:
        faults.append(f"to must be one of {' '.join(targets)}")
    if faults:
        raise RoutesError(faults)
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in line.items()
    }
    return Route(**values)


def _fits(value: Any, name: str) -> bool:
    if isinstance(value, list):
        return list in _TYPES[name] and all(isinstance(each, str) for each in value)
    return isinstance(value, _TYPES[name]) and (bool in _TYPES[name]) == isinstance(value, bool)
