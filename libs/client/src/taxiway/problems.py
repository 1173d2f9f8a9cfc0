"""Read error answers, whoever wrote them: the gateway, an issuer, object storage, a proxy between."""

import json
import re
from collections.abc import Mapping
from typing import Any

from urllib3 import BaseHTTPResponse

from taxiway.errors import Problem

_XML_MEMBER = re.compile(rb"<(Code|Message)>([^<]{1,500})</")


def problem_of(answer: BaseHTTPResponse) -> Problem:
    """Read the problem of an answer. Never raises: what is not ours is told by its status."""
    document = _document(answer.data)
    return Problem(
        status=answer.status,
        detail=_detail(document) or _of_storage(answer) or f"{answer.status} {answer.reason or ''}".strip(),
        type=_text(document, "type"),
        details=_details(document.get("details")),
        request_id=_text(document, "requestId") or answer.headers.get("X-Request-Id", ""),
    )


def _document(data: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""


def _detail(document: Mapping[str, Any]) -> str:
    # RFC 9457 §3.1.4, then the members of sibling APIs, then RFC 6749 §5.2.
    names = ("detail", "message", "error_description", "error")
    return next((text for name in names if (text := _text(document, name))), "")


def _details(value: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        return {}
    lists = {name: each if isinstance(each, list) else [each] for name, each in value.items()}
    return {name: tuple(str(message) for message in each) for name, each in lists.items()}


def _of_storage(answer: BaseHTTPResponse) -> str:
    members = {name: text.decode(errors="replace") for name, text in _XML_MEMBER.findall(answer.data)}
    said = ": ".join(members[name] for name in (b"Code", b"Message") if name in members)
    return f"Object storage answers {answer.status}, {said}" if said else ""
