"""Read JSON bodies whatever content type they come with; a faulty one is a 400, never a 500."""

import json
from typing import NoReturn

from flask import request

from common.problems import bad_request


def json_body() -> object:
    """Read the body as JSON; an empty one is an empty object.

    Raises 400 for what is not JSON, nested too deeply, or holds a number that is none.
    """
    raw = request.get_data(cache=True)
    if not raw.strip():
        return {}
    try:
        return json.loads(raw, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise bad_request("The body is not valid JSON", "malformed-json") from None


def optional_json_body() -> object:
    """Read a body that nobody need send; what does not claim to be JSON is ignored when it is none."""
    if request.is_json:
        return json_body()
    try:
        return json.loads(request.get_data(cache=True), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return {}


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")  # RFC 8259 §6
