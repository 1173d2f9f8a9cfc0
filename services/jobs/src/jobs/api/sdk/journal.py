"""What a run says while it works (executor-api.md §2)."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema
from sqlalchemy import Connection

from common.api import Blueprint
from common.idempotency import once, statement_once
from jobs.api.events import event_document
from jobs.api.sdk.callers import FENCE, WORKS, Caller, caller_of, own_run_only
from jobs.api.sdk.documents import EventSchema
from jobs.api.sdk.fields import AnyJson, Body, Flag, Number, at_most, size_bytes, within
from jobs.api.sdk.secrets import secrets_of
from jobs.engine import journal
from jobs.engine.journal import LEVELS, MAX_ENTRIES, OWN_TYPES, Entry, Progress
from jobs.engine.redaction import redact
from jobs.engine.tables import Event
from jobs.services import services

LONGEST_NAME = 128
Append = Callable[[Connection, Caller, Collection[str]], list[Event]]

blp = Blueprint(
    "journal",
    __name__,
    url_prefix="/sdk/v1/runs/<run_id>",
    faulty_status=422,
    tag="Executor",
    refusals=FENCE,
)
blp.before_request(own_run_only)


class EntrySchema(Body):
    """A line of the log."""

    message = fields.Str(required=True)
    level = fields.Str(load_default="info", validate=validate.OneOf(LEVELS))
    type = fields.Str(load_default="log", validate=at_most(LONGEST_NAME, "bytes", size_bytes))
    data = AnyJson(allow_none=True)


class LogSchema(EntrySchema):
    """One line, or up to 500 as `entries`."""

    message = fields.Str()
    entries = fields.List(
        fields.Nested(EntrySchema), validate=[validate.Length(min=1), at_most(MAX_ENTRIES, "entries", len)]
    )

    @validates_schema
    def _needs_something(self, body: Mapping[str, Any], **_: Any) -> None:
        if "message" not in body and "entries" not in body:
            raise ValidationError("Missing data for required field.", "message")


class ProgressSchema(Body):
    """How far the run is."""

    percent = Number(required=True, validate=within(0, 100))
    message = fields.Str(load_default="", allow_none=True)
    step = fields.Str(allow_none=True)
    eta_seconds = Number(allow_none=True, validate=within(0, 10**9))
    eta_secs = Number(allow_none=True, validate=within(0, 10**9))


class StreamSchema(Body):
    """A piece of a stream; `done` says that it was the last one."""

    chunk = fields.Str(load_default="")
    stream_id = fields.Str(load_default="default", validate=at_most(LONGEST_NAME, "bytes", size_bytes))
    done = Flag(load_default=False)


class NotedSchema(Schema):
    """It is kept."""

    status = fields.Str(required=True, metadata={"enum": ["ok"]})


_ONE_OR_MORE = {"anyOf": [EventSchema, {"type": "array", "items": EventSchema}]}
LOGGED = {"201": {"content": {"application/json": {"schema": _ONE_OR_MORE}}}}


@blp.route("/log", methods=["POST"])
@blp.admits(**WORKS)
@blp.repeatable
@blp.arguments(LogSchema)
@blp.answers(201)
@blp.doc(responses=LOGGED)
def log(body: dict[str, Any], run_id: str) -> Any:
    """Append to the run's log: one line, or up to 500 in one call. The answer is the event, or the events.

    Secrets are taken out before anything is stored.
    """
    events = append(run_id, lambda connection, caller, secrets: _logged(connection, caller, secrets, body))
    documents = [event_document(event) for event in events]
    return documents if "entries" in body else documents[0]


def _logged(
    connection: Connection, caller: Caller, secrets: Collection[str], body: Mapping[str, Any]
) -> list[Event]:
    entries = [_entry(entry, secrets) for entry in body.get("entries", [body])]
    return journal.log(connection, caller.run, caller.lease, entries)


def _entry(entry: Mapping[str, Any], secrets: Collection[str]) -> Entry:
    data = {"message": entry["message"]} | ({"data": entry["data"]} if entry.get("data") is not None else {})
    type = "log" if entry["type"] in OWN_TYPES else entry["type"]
    return Entry(type=type, level=entry["level"], data=redact(data, secrets))


@blp.route("/progress", methods=["POST"])
@blp.admits(**WORKS)
@blp.repeatable
@blp.arguments(ProgressSchema)
@blp.answers(201, EventSchema)
def progress(body: dict[str, Any], run_id: str) -> Mapping[str, Any]:
    """Say how far the run is."""
    [event] = append(
        run_id,
        lambda connection, caller, secrets: [
            journal.progress(connection, caller.run, caller.lease, reached(body, secrets))
        ],
    )
    return event_document(event)


def reached(body: Mapping[str, Any], secrets: Collection[str]) -> Progress:
    """Read a progress; older clients write `eta_secs`."""
    eta = body.get("eta_seconds")
    return Progress(
        percent=body["percent"],
        message=redact(body["message"] or "", secrets),
        step=redact(body.get("step"), secrets),
        eta_seconds=body.get("eta_secs") if eta is None else eta,
    )


@blp.route("/stream", methods=["POST"])
@blp.admits(**WORKS)
@blp.repeatable
@blp.arguments(StreamSchema)
@blp.response(200, NotedSchema)
def stream(body: dict[str, Any], run_id: str) -> Mapping[str, str]:
    """Append a chunk to one of the run's streams; chunks are kept in order.

    Secrets are taken out of each chunk by itself: send whole words.
    """
    return note(run_id, Entry(type="stream", data=body))


def note(run_id: str, entry: Entry) -> Mapping[str, str]:
    """Append one event, its secrets taken out, and answer no more than that."""
    append_one(run_id, entry)
    return {"status": "ok"}


def append_one(run_id: str, entry: Entry) -> Event:
    """Append one event, its secrets taken out."""

    def log(connection: Connection, caller: Caller, secrets: Collection[str]) -> list[Event]:
        clean = replace(entry, data=redact(entry.data, secrets))
        return journal.log(connection, caller.run, caller.lease, [clean])

    return append(run_id, log)[0]


def append(run_id: str, make: Append) -> list[Event]:
    """Append to the history of the caller's run, once an Idempotency-Key.

    `make` gets the caller and the secrets it must take out. A repeat reads the same stretch of the history.
    """
    caller, appended = caller_of(run_id), list[Event]()
    with statement_once(services().engine) as connection:

        def effect() -> list[int]:
            appended.extend(make(connection, caller, secrets_of(connection, caller.run, caller.lease)))
            return [appended[0].seq, appended[-1].seq]

        made = once(connection, effect)
        events = appended or journal.read(connection, caller.run, *made.reference)
    services().nudge.run(caller.run)
    return events
