"""What a service's OpenAPI document says of every operation without its view having to.

A view declares who may call it, what it refuses and whether it may be repeated; `Document` turns that into
security, sentences, error answers and examples. What is declared nowhere is not in the document, so a test
that meets an undocumented answer has found a fault.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import wraps
from typing import Any

import flask_smorest
from flask import jsonify
from flask_smorest.utils import deepupdate

from common import problems, samples
from common.problems import Problem

PROBLEM = "application/problem+json"
METHODS = ("get", "put", "post", "delete", "patch")
_ACCESS, _REFUSALS = "x-access", "x-refusals"
_REQUEST_ID = "5f0c1f6e-8d0b-4f57-9a51-3f1d2b7c9e10"
_KINDS = {
    "client": "a client's token",
    "api-key": "an API key",
    "run": "the token of the run",
    "service": "the signature of one of our services",
}
_UNAVAILABLE = {"service-unavailable": "A part we depend on is not answering. Try again."}
_HEADERS = {
    401: "WWW-Authenticate",
    403: "WWW-Authenticate",
    405: "Allow",
    429: "Retry-After",
    503: "Retry-After",
}
Json = dict[str, Any]
View = Callable[..., Any]
Refusal = tuple[int, str, str]  # status, sentence, rule


class DocumentedBlueprint(flask_smorest.Blueprint):
    """A Blueprint whose views say in one line each what clients must know."""

    def __init__(
        self, name: str, import_name: str, *, tag: str = "", refusals: Sequence[Refusal] = (), **options: Any
    ) -> None:
        """Make a blueprint; `tag` heads its views in the document, `refusals` are what all of them refuse."""
        super().__init__(name, import_name, **options)
        self._refusals = refusals
        self._tag = tag or name.replace("-", " ").capitalize()

    def add_url_rule(self, *args: Any, tags: Sequence[str] | None = None, **options: Any) -> None:
        super().add_url_rule(*args, tags=tags or [self._tag], **options)

    @staticmethod
    def doc(**told: Any) -> Callable[[View], View]:
        """Note something on a view. The framework's own puts one more call round it each time."""

        def note(view: View) -> View:
            known = getattr(view, "_apidoc", {})
            manual = deepupdate(deepcopy(known.get("manual_doc", {})), told)
            view._apidoc = {**known, "manual_doc": manual}  # type: ignore[attr-defined]
            return view

        return note

    def answers(self, status: int, schema: Any = None, **options: Any) -> Callable[[View], View]:
        """Document the answer of a view that returns it as it goes out: no schema has to write it."""
        document: Callable[[View], View] = self.response(status, schema, **options)

        def written(view: View) -> View:
            @wraps(document(view))
            def answer(*given: Any, **named: Any) -> Any:
                return jsonify(view(*given, **named)), status

            return answer

        return written

    def needs(self, access: Mapping[str, Any], faulty_status: int) -> Callable[[View], View]:
        """Note a view's name, who may call it, and the status of its faulty input."""
        noted = {**access, "faulty_status": faulty_status}

        def note(view: View) -> View:
            shown: View = self.doc(**{_ACCESS: noted, "operationId": view.__name__})(view)
            for status, sentence, type in self._refusals:
                shown = self.refuses(status, sentence, type)(shown)
            return shown

        return note

    def refuses(self, status: int, sentence: str, type: str = "") -> Callable[[View], View]:
        """Document a refusal of a view: the sentence as a client reads it, and the rule's name."""
        named = type or problems.code(status).replace("_", "-")
        shown: View = self.doc(**{_REFUSALS: {str(status): {named: sentence}}})
        return shown

    def repeatable(self, view: View) -> View:
        """Document that a view honours `Idempotency-Key` (common.idempotency)."""
        told = "A repeat with the same key within 24 hours finds what the first request made."
        shown: View = self.doc(**{"x-headers": {"Idempotency-Key": told}})(view)
        at_work = "A request with this Idempotency-Key is in progress"
        shown = self.refuses(409, at_work, "idempotency-key-in-progress")(shown)
        reused = "This Idempotency-Key was used with another body"
        return self.refuses(422, reused, "idempotency-key-reused")(shown)

    def conditional(self, view: View) -> View:
        """Document that a view answers 304 to who has seen its answer already (RFC 9110 §13)."""
        shown: View = self.doc(**{"x-headers": {"If-None-Match": "The `ETag` of an earlier answer"}})(view)
        unchanged = {"description": "Nothing changed since the answer with that `ETag`"}
        shown = self.doc(responses={"304": unchanged})(shown)
        return shown  # noqa: RET504 (it has a type this way)


class Document:
    """The document of an application: what flask-smorest gathered, completed."""

    def __init__(self, spec: Any) -> None:
        self._spec = spec

    def to_dict(self) -> Json:
        return complete(self._spec.to_dict())


def complete(document: Json) -> Json:
    """Complete every operation: name, sentences, error answers, examples; drop what nobody refers to."""
    components = document.setdefault("components", {})
    names: set[str] = set()
    for path, operation in operations(document):
        operation["operationId"] = _name(operation.get("operationId", "operation"), path, names)
        access = operation.pop(_ACCESS, {"anyone": True, "faulty_status": 400})
        _complete_parameters(operation, path)
        operation["description"] = "\n\n".join(filter(None, (operation.get("description"), needs(access))))
        operation["security"] = security(access)
        _complete_answers(operation, access, path)
        samples.fill(operation, components.get("schemas", {}))
    used = {tag for _, operation in operations(document) for tag in operation["tags"]}
    document["tags"] = [{"name": tag} for tag in sorted(used)]
    components.pop("headers", None)
    components.pop("responses", None)
    return document


def operations(document: Json) -> Iterator[tuple[str, Json]]:
    """Walk through all operations with their paths."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                # apispec leaves the parameters of the path beside its methods.
                item[method]["parameters"] = [
                    *item.get("parameters", ()),
                    *item[method].get("parameters", ()),
                ]
                yield path, item[method]
        item.pop("parameters", None)


def _name(view: str, path: str, taken: set[str]) -> str:
    """Name an operation after its view; a view at several addresses gets the words of the others as well."""
    words = view.split("_")
    if _camel(words) in taken:
        words += [word for word in re.split(r"[^A-Za-z0-9]+", re.sub(r"\{.*?\}", "", path)) if word]
    taken.add(_camel(words))
    return _camel(words)


def _camel(words: Sequence[str]) -> str:
    return words[0] + "".join(word[:1].upper() + word[1:] for word in words[1:])


def needs(access: Mapping[str, Any]) -> str:
    """Say in a sentence who may call an operation."""
    if access.get("anyone"):
        return "Needs no token."
    sentence = "Needs " + " or ".join(_KINDS[kind] for kind in access["kinds"])
    if access["scopes"]:
        sentence += f" with the scope {_listed(access['scopes'], 'and')}"
    if access["any_scope"]:
        sentence += f" with any of the scopes {_listed(access['any_scope'], 'or')}"
    if access["roles"]:
        sentence += f" and the role {_listed(access['roles'], 'or')}"
    if access.get("or_role"):
        sentence += f", or the role `{access['or_role']}`"
    return sentence + "."


def _listed(names: Sequence[str], conjunction: str) -> str:
    quoted = [f"`{name}`" for name in names]
    return f" {conjunction} ".join(filter(None, (", ".join(quoted[:-1]), quoted[-1])))


def security(access: Mapping[str, Any]) -> list[dict[str, list[str]]]:
    """Write who may call an operation: one alternative for each of several scopes."""
    if access.get("anyone"):
        return []
    alternatives = [[*access["scopes"], scope] for scope in access["any_scope"]]
    return [{"bearer": scopes} for scopes in alternatives or [list(access["scopes"])]]


def _complete_parameters(operation: Json, path: str) -> None:
    for name, told in operation.pop("x-headers", {}).items():
        header = {"in": "header", "name": name, "description": told, "schema": {"type": "string"}}
        operation["parameters"].append(header)
    # A manual list of parameters hides those of the path from apispec.
    known = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
    for name in re.findall(r"\{(.*?)\}", path):
        if name not in known:
            place = {"in": "path", "name": name, "required": True, "schema": {"type": "string"}}
            operation["parameters"].insert(0, place)


def _complete_answers(operation: Json, access: Mapping[str, Any], path: str) -> None:
    answers = operation.setdefault("responses", {})
    for status in [status for status, answer in answers.items() if "$ref" in answer or status == "default"]:
        del answers[status]  # flask-smorest's own idea of errors
    refusals = _refusals(operation, access, path)
    for status, sentences in sorted(refusals.items()):
        answer = answers.setdefault(str(status), {"description": problems.title(status)})
        answer.setdefault("content", {}).setdefault(PROBLEM, _problem_content(status, sentences))
        if status in _HEADERS:
            answer.setdefault("headers", {})[_HEADERS[status]] = {"schema": {"type": "string"}}
    operation["responses"] = dict(sorted(answers.items()))


def _refusals(operation: Json, access: Mapping[str, Any], path: str) -> dict[int, dict[str, str]]:
    """Gather status → rule → sentence: what the shell of a service refuses, and what the view does."""
    found: dict[int, dict[str, str]] = {400: {}, 503: {**_UNAVAILABLE}}
    if not access.get("anyone"):
        found[401] = {"no-token": "No token", "invalid-token": "Invalid token"}
        found[403] = {"insufficient-scopes": "Insufficient scopes"}
    if "{" in path:
        found[404] = {}
    if "requestBody" in operation:
        found[400]["malformed-json"] = "The body is not valid JSON"
        found[413] = {"payload-too-large": "The body is too large"}
        found.setdefault(access["faulty_status"], {})["invalid-input"] = "partner should not be empty"
    for status, sentences in operation.pop(_REFUSALS, {}).items():
        found.setdefault(int(status), {}).update(sentences)
    plain = {400: {"unsafe-path": "The path has a segment that is not safe"}}
    plain[404] = {"not-found": "There is nothing at this address"}
    return {status: sentences or plain[status] for status, sentences in found.items()}


def _problem_content(status: int, sentences: Mapping[str, str]) -> Json:
    examples = {
        rule: {
            "summary": sentence,
            "value": problems.document(Problem(status=status, detail=sentence, type=rule), _REQUEST_ID),
        }
        for rule, sentence in sentences.items()
    }
    return {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}
