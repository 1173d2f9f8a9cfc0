"""What a run puts out by name while it works: small JSON values, each key's last one.

The files of a run are output sets, and the outputs service has them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from common import ids
from jobs.engine import fence
from jobs.engine.fence import GUARD

MAX_OUTPUTS = 1000


class TooManyOutputs(Exception):
    """The run has put out as many keys as it may."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """A row of `run_output`. `schema` is the JSON Schema that `value` was checked against, if any."""

    id: UUID
    run_id: UUID
    key: str
    value: Any
    schema: Any
    created_at: datetime
    updated_at: datetime


OUTPUT_COLUMNS = ", ".join(f"run_output.{field.name}" for field in fields(Output))
_NAMES = tuple(field.name for field in fields(Output))
_PUT = text(f"""
    WITH live AS (
        UPDATE run SET heartbeat_at = now() WHERE {GUARD} RETURNING run.id
    ), put AS (
        INSERT INTO run_output (id, run_id, key, value, schema)
        SELECT :output, live.id, :key, CAST(:value AS jsonb), CAST(:schema AS jsonb) FROM live
        WHERE EXISTS (SELECT FROM run_output WHERE run_id = :id AND key = :key)
           OR (SELECT count(*) FROM run_output WHERE run_id = :id) < :most
        ON CONFLICT (run_id, key) DO UPDATE
        SET value = excluded.value, schema = excluded.schema, updated_at = now()
        RETURNING {OUTPUT_COLUMNS}
    )
    SELECT put.* FROM live LEFT JOIN put ON true
""")  # noqa: S608 (constants, here and below)
_GET = text(f"SELECT {OUTPUT_COLUMNS} FROM run_output WHERE run_id = :id AND key = :key")  # noqa: S608


def put(connection: Connection, run_id: UUID, lease: int, key: str, value: Any, schema: Any) -> Output:
    """Set an output; one of the same key keeps its id. Raises RunRefused and TooManyOutputs."""
    values = {
        "id": run_id,
        "lease": lease,
        "output": ids.new_ordered_id(),
        "key": key,
        "value": json.dumps(value),
        "schema": None if schema is None else json.dumps(schema),
        "most": MAX_OUTPUTS,
    }
    row = connection.execute(_PUT, values).mappings().one_or_none()
    if row is None:
        raise fence.refusal(connection, run_id, lease)
    if row["id"] is None:
        raise TooManyOutputs(f"a run puts out at most {MAX_OUTPUTS} keys")
    return output_of(row)


def get(connection: Connection, run_id: UUID, key: str) -> Output:
    """Read one output that is known to be there: none is ever removed."""
    return output_of(connection.execute(_GET, {"id": run_id, "key": key}).mappings().one())


def output_of(row: Mapping[Any, Any]) -> Output:
    """Read a row that was selected with OUTPUT_COLUMNS (it may hold more)."""
    return Output(**{name: row[name] for name in _NAMES})
