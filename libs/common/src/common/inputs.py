"""Read bodies: no JSON, too deep or another type is a 400, what else is faulty the view decides.

Shapes are marshmallow's; here is what it leaves open: constants that are no JSON, nesting, texts that no
database stores.
"""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from flask import Request
from marshmallow import Schema, ValidationError

from common import problems
from common.problems import Problem

MAX_DEPTH = 100

# What marshmallow says of a value of the wrong JSON type, and of nothing else.
_WRONG_TYPES = {
    "Field may not be null.",
    "Invalid input type.",
    "Not a valid boolean.",
    "Not a valid integer.",
    "Not a valid list.",
    "Not a valid mapping type.",
    "Not a valid number.",
    "Not a valid string.",
}


def read_body(request: Request, schema: Schema, faulty_status: int) -> Any:
    """Read a JSON body through a schema; without one it is an empty object. Raises Problem."""
    try:
        return schema.load(_json_of(request))
    except ValidationError as error:
        details = _flatten(error.messages)
        sentence = "; ".join(f"{message}" for messages in details.values() for message in messages)
        status = 400 if _has_wrong_type(details) else faulty_status
        raise Problem(status=status, detail=sentence, type="invalid-input", details=details) from None


def _json_of(request: Request) -> Any:
    raw = request.get_data(cache=True)
    if not raw:
        return {}
    if not request.is_json:
        # Taken for absent, it would be a silent loss where every field is optional.
        raise problems.bad_request("The body must be JSON: set Content-Type", "malformed-json")
    try:
        loaded = _DECODER.decode(raw.decode())
        _refuse_depth(loaded, MAX_DEPTH)
    except (ValueError, RecursionError):  # a number of thousands of digits, nesting without end
        raise problems.bad_request("The body is not valid JSON", "malformed-json") from None
    # A NUL or half a surrogate pair cannot be stored; JSON can bring them in as escapes only.
    return _storable(loaded) if b"\\u" in raw else loaded


def _refuse_depth(value: Any, levels: int) -> None:
    """Raise ValueError for a value nested deeper than `levels`: who walks it must not run out of stack."""
    if not isinstance(value, list | dict):
        return
    if levels == 0:
        raise ValueError("nested too deeply")
    for inner in value.values() if isinstance(value, dict) else value:
        _refuse_depth(inner, levels - 1)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)  # Python reads `NaN`, JSON has none (RFC 8259 §6)


def _storable(value: Any) -> Any:
    """Strip NUL and replace lone surrogates in every text of a JSON value (executor-api.md §2)."""
    if isinstance(value, str):
        return value.replace("\0", "").encode(errors="replace").decode()
    if isinstance(value, list):
        return [_storable(each) for each in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(each) for key, each in value.items()}
    return value


def _has_wrong_type(details: Mapping[str, list[str]]) -> bool:
    """Tell whether a value is of another JSON type than asked for: 400 everywhere (executor-api.md §2)."""
    return any(message in _WRONG_TYPES for messages in details.values() for message in messages)


def _flatten(messages: Any, path: str = "") -> dict[str, list[str]]:
    """Turn nested messages into dotted field → messages."""
    if not isinstance(messages, dict):
        return {path or "body": [str(m) for m in (messages if isinstance(messages, list) else [messages])]}
    flat: dict[str, list[str]] = {}
    for key, inner in messages.items():
        flat |= _flatten(inner, f"{path}.{key}".strip("."))
    return flat
