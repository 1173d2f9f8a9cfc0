"""What those who watch runs read, as the executor API writes it: snake_case, RFC 3339."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from marshmallow import Schema, fields

from common.clock import rfc3339
from jobs.api.sdk.documents import (
    EventSchema,
    KeptCheckpointSchema,
    KeptOutputSchema,
    RunSchema,
    UsedSchema,
    run_document,
)
from jobs.engine.redaction import redact
from jobs.engine.states import Status
from jobs.engine.tables import Event, Run
from jobs.engine.watching import Page, Totals

T = TypeVar("T")


class RunSummarySchema(RunSchema):
    """A run in a list, without its payload and result."""

    class Meta:
        exclude = ("payload", "result")


class RunPageSchema(Schema):
    """A page of runs; `next` is the cursor of the page after it, null at the end."""

    items = fields.List(fields.Nested(RunSummarySchema), required=True)
    next = fields.Str(required=True, allow_none=True)


class StatusChangeSchema(Schema):
    """A change of a run's status; `by` is what made it."""

    id = fields.Int(required=True)
    from_ = fields.Str(data_key="from")
    to = fields.Str(required=True, metadata={"enum": [status.value for status in Status]})
    by = fields.Str(metadata={"example": "complete"})
    at = fields.Str(required=True)
    attempt = fields.Int()
    lease = fields.Int()
    executor = fields.Str()
    error = fields.Str()


class HistorySchema(Schema):
    """A run's way so far; `next` is the `after` of the page after it, null at the end."""

    items = fields.List(fields.Nested(StatusChangeSchema), required=True)
    next = fields.Int(required=True, allow_none=True)


class EventPageSchema(Schema):
    """A page of events; `next` is the `after` of the page after it, null at the end."""

    items = fields.List(fields.Nested(EventSchema), required=True)
    next = fields.Int(required=True, allow_none=True)


class CheckpointListSchema(Schema):
    """The checkpoints that are still kept, oldest first."""

    items = fields.List(fields.Nested(KeptCheckpointSchema), required=True)
    next = fields.Str(required=True, allow_none=True, metadata={"description": "always null"})


class OutputPageSchema(Schema):
    """A page of outputs; `next` is the `after` of the page after it, null at the end."""

    items = fields.List(fields.Nested(KeptOutputSchema), required=True)
    next = fields.Str(required=True, allow_none=True)


class TotalsSchema(Schema):
    """What all calls of models took."""

    calls = fields.Int(required=True)
    prompt_tokens = fields.Int(required=True)
    completion_tokens = fields.Int(required=True)
    total_tokens = fields.Int(required=True)
    cost_microusd = fields.Int(required=True)


class UsagePageSchema(Schema):
    """A page of calls of models, and the totals of all of them."""

    items = fields.List(fields.Nested(UsedSchema), required=True)
    next = fields.Int(required=True, allow_none=True)
    totals = fields.Nested(TotalsSchema, required=True)


def shown(run: Run) -> dict[str, Any]:
    """Write a run; whatever a run was given, no secret and no signed URL is shown."""
    document: dict[str, Any] = redact(run_document(run))
    return document


def summary(run: Run) -> dict[str, Any]:
    """Write a run in a list."""
    document = shown(run)
    del document["payload"]
    return document


def page(found: Page[T], write: Callable[[T], Any], position_of: Callable[[T], Any]) -> dict[str, Any]:
    """Write a page and where the next one begins."""
    following = position_of(found.items[-1]) if found.more else None
    return {"items": [write(item) for item in found.items], "next": following}


def place_of(event: Event) -> int:
    """Say where an event stands in its run's history."""
    return event.seq


def change(event: Event) -> dict[str, Any]:
    """Write a change of status."""
    return {"id": event.seq, **event.data, "at": rfc3339(event.at)}


def with_totals(document: Mapping[str, Any], totals: Totals) -> dict[str, Any]:
    """Add the totals to a page of usage."""
    return {**document, "totals": asdict(totals)}
