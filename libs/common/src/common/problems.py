"""The one shape of an error answer: `application/problem+json` (RFC 9457) and the members clients read.

A service raises its own errors and maps each to a `Problem` in one table; nobody else writes an error body.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from flask import Response
from werkzeug.exceptions import HTTPException

Details = Mapping[str, Sequence[str]]

CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    410: "gone",
    413: "payload_too_large",
    422: "validation_error",
    429: "rate_limit_exceeded",
    500: "internal_error",
    502: "bad_gateway",
    503: "service_unavailable",
    504: "gateway_timeout",
}


SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "success", "error", "message", "requestId"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "success": {"const": False},
        "error": {"type": "string"},
        "message": {"type": "string"},
        "details": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
        "statusCode": {"type": "integer"},
        "requestId": {"type": "string"},
        "retry_after": {"type": "integer", "description": "seconds; of 429 only"},
    },
}


@dataclass(kw_only=True, eq=False)  # not frozen: Python writes an exception's traceback
class Problem(Exception):
    """An error answer. `type` is a rule's name in kebab case; without one it follows from the status.

    `details` maps a faulty field to its messages. `detail` is a sentence a person can act on.
    """

    status: int
    detail: str
    type: str = ""
    details: Details = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.status} {self.detail}"


def code(status: int) -> str:
    """Name the error of a status: the member `error`."""
    if status in CODES:
        return CODES[status]
    return "internal_error" if status >= 500 else "bad_request"


def document(problem: Problem, request_id: str) -> dict[str, Any]:
    """Lay out the members of an error answer."""
    error = code(problem.status)
    return {
        "type": f"/problems/{problem.type or error.replace('_', '-')}",
        "title": title(problem.status),
        "status": problem.status,
        "detail": problem.detail,
        "success": False,
        "error": error,
        "message": problem.detail,
        "details": {name: list(messages) for name, messages in problem.details.items()},
        "statusCode": problem.status,
        "requestId": request_id,
        **problem.members,
    }


def title(status: int) -> str:
    """Name a status as HTTP does."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


SENTENCES = {
    404: "There is nothing at this address",
    405: "This address does not know this method",
    413: "The body is too large",
    415: "The body must be JSON",
    500: "Something went wrong on our side. The request id finds it in the logs.",
}


def of_http(error: HTTPException) -> Problem:
    """Turn an error of the web framework into a problem, its headers kept (`Allow`, `Retry-After`)."""
    status = error.code or 500
    detail = SENTENCES.get(status) or error.description or error.name
    headers = {k: v for k, v in error.get_headers() if k.lower() not in ("content-type", "content-length")}
    return Problem(status=400 if status == 415 else status, detail=detail, headers=headers)


def render(problem: Problem, request_id: str) -> Response:
    """Make the HTTP answer of a problem, its headers kept."""
    body = json.dumps(document(problem, request_id), ensure_ascii=False)
    return Response(
        body, problem.status, headers=dict(problem.headers), content_type="application/problem+json"
    )


def bad_request(detail: str, type: str = "", details: Details | None = None) -> Problem:
    return Problem(status=400, detail=detail, type=type, details=details or {})


def unauthorized(detail: str, challenge: str = 'Bearer realm="taxiway"') -> Problem:
    """401 with the challenge RFC 6750 §3 asks for."""
    return Problem(status=401, detail=detail, headers={"WWW-Authenticate": challenge})


def forbidden(detail: str, type: str = "", challenge: str = "") -> Problem:
    headers = {"WWW-Authenticate": challenge} if challenge else {}
    return Problem(status=403, detail=detail, type=type, headers=headers)


def not_found(detail: str, type: str = "") -> Problem:
    return Problem(status=404, detail=detail, type=type)


def conflict(detail: str, type: str = "") -> Problem:
    return Problem(status=409, detail=detail, type=type)


def gone(detail: str, type: str = "") -> Problem:
    return Problem(status=410, detail=detail, type=type)
