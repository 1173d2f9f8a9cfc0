"""Watch runs: list them, look at one, read what it said and made. Another partner's run is not found."""

from collections.abc import Callable
from typing import Any

from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from common.api import Blueprint
from common.database import transaction
from jobs.api.engine import callers, documents
from jobs.api.engine.callers import OF_A_RUN, READS
from jobs.api.events import event_document
from jobs.api.external import queries
from jobs.api.external.conditional import answer
from jobs.api.external.schemas import query
from jobs.api.sdk.documents import RunSchema, output_document, own_document
from jobs.engine import memory, watching
from jobs.engine.journal import LEVELS, OWN_TYPES
from jobs.engine.redaction import redact
from jobs.engine.states import Status
from jobs.engine.tables import Run
from jobs.engine.watching import Events, Filters
from jobs.services import services

listing = Blueprint("run-list", __name__, url_prefix="/v1/runs", faulty_status=400, tag="Runs")
blp = Blueprint("runs", __name__, url_prefix="/v1/runs", faulty_status=400, refusals=OF_A_RUN)
_LIMIT = query("limit", "1 to 1000, 100 if not given")
_AFTER = query("after", "`next` of the page before, or the `id` of an event")
_LEVEL = query("level", f"that level and above: {', '.join(LEVELS)}")
_CURSOR = query("cursor", "`next` of the page before")


@listing.route("", methods=["GET"])
@listing.admits(**READS)
@listing.doc(
    parameters=[
        query("partner", "whose runs; needed where the token has several partners"),
        query("status", ", ".join(Status)),
        query("job", "the uid of a job"),
        query("tag", "one of the run's tags, exact"),
        query("created_after", "ISO 8601; strictly after"),
        query("created_before", "ISO 8601; strictly before"),
        _LIMIT,
        _CURSOR,
    ]
)
@listing.conditional
@listing.refuses(400, "partner query parameter is required", "invalid-query")
@listing.refuses(404, "Partner not found: acme", "partner-not-found")
@listing.response(200, documents.RunPageSchema)
def list_runs() -> ResponseReturnValue:
    """List the runs of a partner, newest first, without payload and result.

    `next` is the cursor of the following page, null at the end.
    """
    return _listed(callers.filters())


@blp.route("/<run>", methods=["GET"])
@blp.admits(**READS)
@blp.conditional
@blp.response(200, RunSchema)
def show_run(run: str) -> ResponseReturnValue:
    """Show a run, by its UUID or its number."""
    return _about(run, lambda _, found: documents.shown(found))


@blp.route("/<run>/history", methods=["GET"])
@blp.admits(**READS)
@blp.conditional
@blp.doc(parameters=[_AFTER, _LIMIT])
@blp.response(200, documents.HistorySchema)
def show_history(run: str) -> ResponseReturnValue:
    """Show how a run's status changed, and when."""
    return _events(run, Events(type="status"), documents.change)


@blp.route("/<run>/events", methods=["GET"])
@blp.admits(**READS)
@blp.conditional
@blp.doc(parameters=[_LEVEL, query("type", "exact"), _AFTER, _LIMIT])
@blp.refuses(400, "level must be one of trace, debug, info", "invalid-query")
@blp.response(200, documents.EventPageSchema)
def list_events(run: str) -> ResponseReturnValue:
    """List all events of a run, in order: its status, log, progress, usage, calls of tools, streams."""
    wanted = Events(type=queries.one("type") or None, level=callers.level())
    return _events(run, wanted, event_document)


@blp.route("/<run>/logs", methods=["GET"])
@blp.admits(**READS)
@blp.conditional
@blp.doc(parameters=[_LEVEL, _AFTER, _LIMIT])
@blp.refuses(400, "level must be one of trace, debug, info", "invalid-query")
@blp.response(200, documents.EventPageSchema)
def list_logs(run: str) -> ResponseReturnValue:
    """List what the run's executor logged, in order."""
    return _events(run, Events(others=OWN_TYPES, level=callers.level()), event_document)


@blp.route("/<run>/checkpoints", methods=["GET"])
@blp.admits(**READS)
@blp.conditional
@blp.response(200, documents.CheckpointListSchema)
def list_checkpoints(run: str) -> ResponseReturnValue:
    """List the checkpoints of a run that are still kept, oldest first."""
    return _about(run, _checkpoints)


def _checkpoints(connection: Connection, run: Run) -> dict[str, Any]:
    kept = memory.checkpoints(connection, run.id)
    return {"items": [redact(memory.document(each)) for each in kept], "next": None}


@blp.route("/<run>/outputs", methods=["GET"])
@blp.admits(**READS)
@blp.conditional
@blp.doc(parameters=[query("after", "`next` of the page before"), _LIMIT])
@blp.response(200, documents.OutputPageSchema)
def list_outputs(run: str) -> ResponseReturnValue:
    """List what a run put out by name, ordered by key."""
    after, limit = queries.one("after"), callers.limit()

    def read(connection: Connection, found: Run) -> dict[str, Any]:
        put = watching.outputs(connection, found.id, after, limit)
        return documents.page(put, output_document, lambda output: output.key)

    return _about(run, read)


@blp.route("/<run>/children", methods=["GET"])
@blp.admits(**READS)
@blp.conditional
@blp.doc(parameters=[_LIMIT, _CURSOR])
@blp.response(200, documents.RunPageSchema)
def list_children(run: str) -> ResponseReturnValue:
    """List the runs that a run has spawned, newest first, without payload and result."""
    with transaction(services().engine) as connection:
        parent = callers.visible_run(connection, run)
    return _listed(Filters(partner=parent.partner, parent=parent.id))


@blp.route("/<run>/usage", methods=["GET"])
@blp.admits(**READS)
@blp.conditional
@blp.doc(parameters=[_AFTER, _LIMIT])
@blp.response(200, documents.UsagePageSchema)
def show_usage(run: str) -> ResponseReturnValue:
    """Show which models a run called, and what they took in all."""
    after, limit = callers.place(), callers.limit()

    def read(connection: Connection, found: Run) -> dict[str, Any]:
        calls = watching.events(connection, found.id, Events(type="usage"), after, limit)
        document = documents.page(calls, own_document, documents.place_of)
        return documents.with_totals(document, watching.totals(connection, found.id))

    return _about(run, read)


def _about(run: str, read: Callable[[Connection, Run], dict[str, Any]]) -> ResponseReturnValue:
    with transaction(services().engine) as connection:
        document = read(connection, callers.visible_run(connection, run))
    return answer(document)


def _events(run: str, wanted: Events, write: Callable[[Any], Any]) -> ResponseReturnValue:
    after, limit = callers.place(), callers.limit()

    def read(connection: Connection, found: Run) -> dict[str, Any]:
        events = watching.events(connection, found.id, wanted, after, limit)
        return documents.page(events, write, documents.place_of)

    return _about(run, read)


def _listed(filters: Filters) -> ResponseReturnValue:
    after, limit = callers.position(), callers.limit()
    with transaction(services().engine) as connection:
        found = watching.newest(connection, filters, after, limit)
    return answer(documents.page(found, documents.summary, callers.cursor_of))
