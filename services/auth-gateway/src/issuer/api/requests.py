"""Read a token request from the wire, in whatever form the client chose."""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from flask import Request

from issuer.errors import invalid_request


def parameters(request: Request) -> dict[str, list[str]]:
    """Read the parameters of a token request: a form, or a JSON object with the same names."""
    if request.is_json:
        return {
            name: [_text(name, value)] for name, value in json_object(request).items() if value is not None
        }
    return {name: request.form.getlist(name) for name in request.form}


def json_object(request: Request) -> Mapping[str, Any]:
    """Read the body as a JSON object. Raises invalid_request."""
    try:
        document = json.loads(request.get_data().decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise invalid_request("The body is not valid JSON") from None
    if not isinstance(document, dict):
        raise invalid_request("The body must be a JSON object")
    return document


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")  # RFC 8259 §6


def _text(name: str, value: Any) -> str:
    if name == "scope" and isinstance(value, list) and all(isinstance(each, str) for each in value):
        return " ".join(value)
    if not isinstance(value, str):
        return ""  # the same as left out
    return value
