"""What a run says while it works (executor-api.md §2)."""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from marshmallow import ValidationError, fields, validate, validates_schema
from sqlalchemy import Connection

from common.api import Blueprint
from common.database import transaction
from common.idempotency import once
from jobs.api.sdk.callers import FENCE, WORKS, Caller, caller_of, own_run_only
from jobs.api.sdk.documents import EventSchema, event_document
from jobs.api.sdk.fields import AnyJson, Body, Number, at_most, size_bytes, within
from jobs.api.sdk.secrets import secrets_of
from jobs.engine import journal
from jobs.engine.journal import MAX_ENTRIES, OWN_TYPES, Entry, Progress
from jobs.engine.redaction import redact
from jobs.engine.tables import Event
from jobs.services import services

LEVELS = ("trace", "debug", "info", "notice", "warn", "warning", "error", "fatal", "critical")
LONGEST_NAME = 128

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


_ONE_OR_MORE = {"anyOf": [EventSchema, {"type": "array", "items": EventSchema}]}
LOGGED = {"201": {"content": {"application/json": {"schema": _ONE_OR_MORE}}}}


@blp.route("/log", methods=["POST"])
@blp.admits(**WORKS)
@blp.repeatable
@blp.arguments(LogSchema)
@blp.response(201)
@blp.doc(responses=LOGGED)
def log(body: dict[str, Any], run_id: str) -> Any:
    """Append to the run's log: one line, or up to 500 in one call. The answer is the event, or the events.

    Secrets are taken out before anything is stored.
    """
    caller = caller_of(run_id)
    with transaction(services().engine) as connection:
        events = _once(connection, caller, lambda: _logged(connection, caller, body))
    services().nudge.run(caller.run)
    documents = [event_document(event) for event in events]
    return documents if "entries" in body else documents[0]


def _logged(connection: Connection, caller: Caller, body: Mapping[str, Any]) -> list[Event]:
    secrets = secrets_of(connection, caller.run, caller.lease)
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
@blp.response(201, EventSchema)
def progress(body: dict[str, Any], run_id: str) -> Mapping[str, Any]:
    """Say how far the run is."""
    caller = caller_of(run_id)
    with transaction(services().engine) as connection:
        [event] = _once(connection, caller, lambda: [_progressed(connection, caller, body)])
    services().nudge.run(caller.run)
    return event_document(event)


def _progressed(connection: Connection, caller: Caller, body: Mapping[str, Any]) -> Event:
    secrets = secrets_of(connection, caller.run, caller.lease)
    return journal.progress(connection, caller.run, caller.lease, reached(body, secrets))


def reached(body: Mapping[str, Any], secrets: Collection[str]) -> Progress:
    """Read a progress; older clients write `eta_secs`."""
    eta = body.get("eta_seconds")
    return Progress(
        percent=body["percent"],
        message=redact(body["message"] or "", secrets),
        step=redact(body.get("step"), secrets),
        eta_seconds=body.get("eta_secs") if eta is None else eta,
    )


def _once(connection: Connection, caller: Caller, append: Any) -> list[Event]:
    """Append once an Idempotency-Key: a repeat reads the same stretch of the history."""
    appended: list[Event] = []

    def effect() -> list[int]:
        appended.extend(append())
        return [appended[0].seq, appended[-1].seq]

    made = once(connection, effect)
    return appended or _read(connection, caller.run, made.reference)


def _read(connection: Connection, run_id: UUID, stretch: list[int]) -> list[Event]:
    return journal.read(connection, run_id, *stretch)
