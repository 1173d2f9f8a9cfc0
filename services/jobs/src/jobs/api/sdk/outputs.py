"""What a run puts out by name (executor-api.md §2)."""

import json
from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, validates_schema
from sqlalchemy import Connection

from common.api import Blueprint
from common.database import transaction
from common.idempotency import once
from common.problems import bad_request
from jobs.api.sdk.callers import FENCE, WORKS, Caller, caller_of, own_run_only
from jobs.api.sdk.documents import KeptOutputSchema, output_document
from jobs.api.sdk.fields import AnyJson, Body, size_bytes
from jobs.api.sdk.secrets import secrets_of
from jobs.engine import outputs, schemas
from jobs.engine.outputs import Output
from jobs.engine.redaction import redact
from jobs.services import services

LONGEST_KEY_BYTES = 256

blp = Blueprint(
    "outputs",
    __name__,
    url_prefix="/sdk/v1/runs/<run_id>",
    faulty_status=422,
    tag="Executor",
    refusals=FENCE,
)
blp.before_request(own_run_only)


class JsonSchema(AnyJson):
    """A JSON Schema: an object or a boolean."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:
        if not isinstance(value, dict | bool):
            raise ValidationError("Not a valid mapping type.")
        return super()._deserialize(value, attr, data, **options)


class OutputSchema(Body):
    """A value under a key; older clients write `output_key` as `key`."""

    output_key = fields.Str()
    key = fields.Str()
    value = AnyJson(required=True, allow_none=True, metadata={"example": {"rows": 12}})
    schema = JsonSchema(allow_none=True, metadata={"example": {"type": "object"}})

    @validates_schema
    def _needs_a_key(self, body: Mapping[str, Any], **_: Any) -> None:
        if "output_key" not in body and "key" not in body:
            raise ValidationError("Missing data for required field.", "output_key")


@blp.route("/output", methods=["POST"])
@blp.admits(**WORKS)
@blp.repeatable
@blp.refuses(400, "a key has 1 to 256 bytes", "invalid-key")
@blp.refuses(400, "a schema has at most 65536 bytes", "limit-exceeded")
@blp.refuses(400, "the schema is not usable: Pointer '/rows' does not exist", "schema-unusable")
@blp.refuses(400, 'the value breaks its schema: 5 is not of type "string"', "value-breaks-schema")
@blp.arguments(OutputSchema)
@blp.response(201, KeptOutputSchema)
def put_output(body: dict[str, Any], run_id: str) -> Mapping[str, Any]:
    """Put out a value under a key; the same key again replaces the value and keeps the id.

    With a `schema` the value is checked first. References lead to the schema itself only; patterns are
    regular expressions without lookaround and backreferences.
    """
    caller, key = caller_of(run_id), _key(body)
    _check(body)
    with transaction(services().engine) as connection:
        output = _put_once(connection, caller, key, body)
    return output_document(output)


def _key(body: Mapping[str, Any]) -> str:
    key: str = body.get("output_key", body.get("key", ""))
    if not 1 <= size_bytes(key) <= LONGEST_KEY_BYTES:
        sentence = f"a key has 1 to {LONGEST_KEY_BYTES} bytes"
        raise bad_request(sentence, "invalid-key", {"output_key": [sentence]})
    return key


def _check(body: Mapping[str, Any]) -> None:
    schema = body.get("schema")
    if schema is None:
        return
    if size_bytes(json.dumps(schema, ensure_ascii=False)) > schemas.MAX_SCHEMA_BYTES:
        raise bad_request(f"a schema has at most {schemas.MAX_SCHEMA_BYTES} bytes", "limit-exceeded")
    schemas.check(schema, body["value"])


def _put_once(connection: Connection, caller: Caller, key: str, body: Mapping[str, Any]) -> Output:
    put: list[Output] = []

    def effect() -> str:
        secrets = secrets_of(connection, caller.run, caller.lease)
        own, value, schema = redact([key, body["value"], body.get("schema")], secrets)
        put.append(outputs.put(connection, caller.run, caller.lease, own, value, schema))
        return put[0].key

    made = once(connection, effect)
    return put[0] if put else outputs.get(connection, caller.run, made.reference)
