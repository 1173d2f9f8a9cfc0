"""What a run uses while it works: models, tools, memory (executor-api.md §2)."""

from collections.abc import Collection, Mapping
from typing import Any

from marshmallow import fields, validate
from sqlalchemy import Connection

from common.api import Blueprint
from jobs.api.sdk.callers import FENCE, WORKS, Caller, own_run_only
from jobs.api.sdk.documents import ToolCalledSchema, UsedSchema, own_document
from jobs.api.sdk.fields import AnyJson, Body, Number, Whole, at_most, size_bytes, within
from jobs.api.sdk.journal import LONGEST_NAME, NotedSchema, append, append_one, note
from jobs.engine import journal
from jobs.engine.journal import Entry
from jobs.engine.redaction import redact
from jobs.engine.tables import Event
from jobs.services import services

MOST = 10**12  # sums of it fit a bigint
WARN_PERCENT, ERROR_PERCENT = 80, 90

blp = Blueprint(
    "usage",
    __name__,
    url_prefix="/sdk/v1/runs/<run_id>",
    faulty_status=422,
    tag="Executor",
    refusals=FENCE,
)
blp.before_request(own_run_only)


def _name() -> fields.Str:
    return fields.Str(
        required=True, validate=[validate.Length(min=1), at_most(LONGEST_NAME, "bytes", size_bytes)]
    )


def _count() -> Whole:
    return Whole(allow_none=True, validate=within(0, MOST))


class UsageSchema(Body):
    """A call of a model. Tokens that are not told count as none, a total as their sum."""

    provider = _name()
    model = _name()
    prompt_tokens = _count()
    completion_tokens = _count()
    total_tokens = _count()
    cost_microusd = _count()


class ToolCallSchema(Body):
    """A call of a tool."""

    tool_name = _name()
    input = AnyJson(allow_none=True)
    output = AnyJson(allow_none=True)
    duration_ms = Number(allow_none=True, validate=within(0, MOST))
    status = fields.Str(allow_none=True, validate=at_most(LONGEST_NAME, "bytes", size_bytes))


class ResourcesSchema(Body):
    """What the run takes of its machine."""

    memory_mb = Number(allow_none=True, validate=within(0, MOST))
    memory_percent = Number(allow_none=True, validate=within(0, 100))
    cpu_percent = Number(allow_none=True, validate=within(0, MOST))


@blp.route("/usage", methods=["POST"])
@blp.admits(**WORKS)
@blp.repeatable
@blp.refuses(429, "the run has spent its budget of 5000000 millionths of a US dollar", "budget-spent")
@blp.arguments(UsageSchema)
@blp.response(201, UsedSchema)
def usage(body: dict[str, Any], run_id: str) -> Mapping[str, Any]:
    """Note a call of a model and what it cost.

    Where runs have a budget, the call that reaches it is still noted and every later one is a 429.
    """
    used = _used(body)

    def make(connection: Connection, caller: Caller, secrets: Collection[str]) -> list[Event]:
        budget, clean = services().settings.run_budget_microusd, redact(used, secrets)
        return [journal.usage(connection, caller.run, caller.lease, clean, budget_microusd=budget)]

    return own_document(append(run_id, make)[0])


def _used(body: Mapping[str, Any]) -> dict[str, Any]:
    prompt, completion = body.get("prompt_tokens") or 0, body.get("completion_tokens") or 0
    total = body.get("total_tokens")
    return {
        "provider": body["provider"],
        "model": body["model"],
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion if total is None else total,
        "cost_microusd": body.get("cost_microusd") or 0,
    }


@blp.route("/tool-call", methods=["POST"])
@blp.admits(**WORKS)
@blp.repeatable
@blp.arguments(ToolCallSchema)
@blp.response(201, ToolCalledSchema)
def tool_call(body: dict[str, Any], run_id: str) -> Mapping[str, Any]:
    """Note a call of a tool; secrets are taken out of its input and output."""
    return own_document(append_one(run_id, Entry(type="tool_call", data=_told(body))))


@blp.route("/resources", methods=["POST"])
@blp.admits(**WORKS)
@blp.repeatable
@blp.arguments(ResourcesSchema)
@blp.response(201, NotedSchema)
def resources(body: dict[str, Any], run_id: str) -> Mapping[str, str]:
    """Note what the run takes of its machine: a warning from 80 % of its memory, an error from 90 %."""
    return note(run_id, _measured(_told(body)))


def _measured(told: dict[str, Any]) -> Entry:
    percent = told.get("memory_percent") or 0
    level = "error" if percent >= ERROR_PERCENT else "warn" if percent >= WARN_PERCENT else "info"
    message = {} if level == "info" else {"message": f"{percent:g} % of the memory is in use"}
    return Entry(type="resources", level=level, data={**message, **told})


def _told(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}
