"""Follow a run as it works: all that happens to it, or the lines of its log."""

import re
from collections.abc import Callable
from typing import Any

from flask import Response, request

from common import ids
from common.api import Blueprint, current_principal
from common.connections import PATIENCE
from common.database import transaction
from common.problems import bad_request, not_found
from jobs.api.watch.services import services
from jobs.api.watch.watcher import NEVER, Watcher, Wish
from jobs.engine import news
from jobs.engine.news import Standing

_NUMBER = re.compile("[0-9]{1,18}")
_PLACE = re.compile("[0-9]{1,9}")
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_EXAMPLE = (
    'retry: 2000\n\nid: 7\nevent: log\ndata: {"id":7,"run_id":"0b8f6a3c-52c1-4f6e-9a0d-7d1f0f6f2b11",'
    '"type":"log","level":"info","message":"Transforming","created_at":"2026-03-02T09:30:00.000Z"}\n\n'
    'event: end\ndata: {"run_id":"0b8f6a3c-52c1-4f6e-9a0d-7d1f0f6f2b11","status":"completed"}\n\n'
)
_STREAM = {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}}
_AFTER = {
    "in": "query",
    "name": "after",
    "description": "go on after this number; `Last-Event-ID` wins over it",
    "schema": {"type": "integer", "minimum": 0},
}
_RESUMES = {"Last-Event-ID": "The last `id` received: the stream goes on after it"}
_REFUSALS = (
    (400, "Validation failed (uuid or number is expected)", "invalid-uuid"),
    (400, "after must be the id of an event", "invalid-query"),
    (404, "Run not found: 0b8f6a3c-52c1-4f6e-9a0d-7d1f0f6f2b11", "run-not-found"),
    (429, "You have 100 streams open, which is the most allowed. Close one first.", "too-many-streams"),
)

blp = Blueprint("streams", __name__, url_prefix="/v1/runs", tag="Runs", refusals=_REFUSALS)


def _documented(view: Callable[..., Any]) -> Callable[..., Any]:
    answer = {"200": {"description": "The stream", "content": _STREAM}}
    told = {"x-headers": _RESUMES, "parameters": [_AFTER], "responses": answer}
    shown: Callable[..., Any] = blp.doc(**told)(view)
    return shown


@blp.route("/<run_id>/stream", methods=["GET"])
@blp.admits(scopes=("read:jobs",))
@_documented
def stream_run(run_id: str) -> Response:
    """Follow everything that happens to a run, as Server-Sent Events.

    `run_id` is the run's id or its number. The stream begins with what is stored. Each event has its number
    in the run's history as `id`, its type as `event`, and one line of JSON as `data`. When the run is final,
    an event `end` tells its status and the stream ends. It also ends when the token does: come back with
    `Last-Event-ID` and nothing is missed or repeated. Comments come in between, to keep the connection.
    """
    return _stream(run_id, only_logs=False)


@blp.route("/<run_id>/logs/stream", methods=["GET"])
@blp.admits(scopes=("read:jobs",))
@_documented
def stream_logs(run_id: str) -> Response:
    """Follow the lines of a run's log, as Server-Sent Events.

    Like the stream of everything, with what the run's executor logged alone, and `end`.
    """
    return _stream(run_id, only_logs=True)


def _stream(run_id: str, *, only_logs: bool) -> Response:
    caller, own = current_principal(), services()
    wish = Wish(
        after=_after(),
        only_logs=only_logs,
        expires_at=caller.expires_at or NEVER,
        comment_seconds=own.settings.comment_seconds,
        forget=request.environ.clear,
    )
    standing = _find(run_id)
    if request.method == "HEAD":
        return _answer(())
    if be_patient := request.environ.get(PATIENCE):
        be_patient(own.settings.client_silence_seconds)
    give_back = own.places.take(caller)
    return _answer(Watcher(own.hub, standing, wish, own.clock, give_back))


def _answer(pieces: Any) -> Response:
    # Passed through: the layers between gunicorn and the watcher would cost each stream kilobytes.
    return Response(pieces, content_type="text/event-stream", headers=HEADERS, direct_passthrough=True)


def _after() -> int:
    """Read after which event to begin."""
    text = request.headers.get("Last-Event-ID") or request.args.get("after") or "0"
    if not _PLACE.fullmatch(text):
        sentence = "after must be the id of an event"
        raise bad_request(sentence, "invalid-query", {"after": [sentence]})
    return int(text)


def _find(name: str) -> Standing:
    reference = int(name) if _NUMBER.fullmatch(name) else ids.parse_uuid(name)
    if reference is None:
        raise bad_request("Validation failed (uuid or number is expected)", "invalid-uuid")
    with transaction(services().engine) as connection:
        found = news.find(connection, reference, current_principal().partners)
    if found is None:
        raise not_found(f"Run not found: {name}", "run-not-found")
    return found
