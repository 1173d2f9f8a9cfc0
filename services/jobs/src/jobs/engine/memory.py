"""What a run remembers: annotations, checkpoints, and state that survives its retries.

Each write proves the lease and counts as a heartbeat in its own statement.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from common import ids
from common.clock import rfc3339
from common.database import fetch
from jobs.engine import fence
from jobs.engine.fence import GUARD
from jobs.engine.tables import RUN_COLUMNS, Run, run_of

CHECKPOINTS_KEPT = 20
MAX_ANNOTATIONS_BYTES = 64 * 1024
MAX_STATE_KEYS = 1000


class CheckpointNotKept(Exception):
    """The run has no checkpoint of this number, or keeps it no longer."""

    def __init__(self, run_id: UUID, sequence: int) -> None:
        super().__init__(f"Checkpoint not found: {sequence} of run {run_id}")


class TooManyKeys(Exception):
    """The run's state has as many keys as it may have."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A state a later attempt may begin from."""

    id: UUID
    run_id: UUID
    sequence: int
    source: str
    state: Any
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class StateValue:
    """One key of a run's state."""

    run_id: UUID
    key: str
    value: Any
    updated_at: datetime


_CHECKPOINT = ", ".join(field.name for field in fields(Checkpoint))
_STATE = ", ".join(f"run_state.{field.name}" for field in fields(StateValue))
_ALIVE = f"UPDATE run SET heartbeat_at = now() WHERE {GUARD} RETURNING run.id, run.lease"  # noqa: S608

_ANNOTATE = text(f"""
    UPDATE run SET heartbeat_at = now(), metadata = metadata || CAST(:annotations AS jsonb)
    WHERE {GUARD} RETURNING {RUN_COLUMNS}
""")  # noqa: S608 (constants, here and below)
_SAVE = text(f"""
    WITH live AS (
        UPDATE run SET heartbeat_at = now(), checkpoint_seq = run.checkpoint_seq + 1
        WHERE {GUARD} RETURNING run.id, run.lease, run.checkpoint_seq
    ), trimmed AS (
        DELETE FROM checkpoint USING live
        WHERE checkpoint.run_id = live.id AND checkpoint.sequence <= live.checkpoint_seq - :kept
    )
    INSERT INTO checkpoint (id, run_id, sequence, lease, source, state)
    SELECT :checkpoint, live.id, live.checkpoint_seq, live.lease, :source, CAST(:state AS jsonb) FROM live
    RETURNING {_CHECKPOINT}
""")  # noqa: S608
_LAST = text(f"SELECT {_CHECKPOINT} FROM checkpoint WHERE run_id = :id ORDER BY sequence DESC LIMIT 1")  # noqa: S608
_READ = text(f"SELECT {_CHECKPOINT} FROM checkpoint WHERE run_id = :id AND sequence = :sequence")  # noqa: S608
# Saves at one time delete what each of them sees: one may leave a checkpoint to the next to delete.
_KEPT = text(f"""
    SELECT {_CHECKPOINT} FROM checkpoint
    WHERE run_id = :id AND sequence > (SELECT checkpoint_seq FROM run WHERE id = :id) - :kept
    ORDER BY sequence
""")  # noqa: S608
_COPY = text("""
    WITH kept AS (
        SELECT source, state FROM checkpoint WHERE run_id = :origin AND sequence = :sequence
    ), counted AS (
        UPDATE run SET checkpoint_seq = 1 FROM kept WHERE run.id = :id RETURNING run.id, run.lease
    )
    INSERT INTO checkpoint (id, run_id, sequence, lease, source, state)
    SELECT :checkpoint, counted.id, 1, counted.lease, kept.source, kept.state FROM kept, counted
    RETURNING id
""")
_LIVE = text(_ALIVE)
_PUT = text(f"""
    INSERT INTO run_state (run_id, key, value)
    SELECT :id, :key, CAST(:value AS jsonb)
    WHERE EXISTS (SELECT FROM run_state WHERE run_id = :id AND key = :key)
       OR (SELECT count(*) FROM run_state WHERE run_id = :id) < :most
    ON CONFLICT (run_id, key) DO UPDATE SET value = excluded.value, updated_at = now()
    RETURNING {_STATE}
""")  # noqa: S608
_GET = text(f"SELECT {_STATE} FROM run_state WHERE run_id = :id AND key = :key")  # noqa: S608
_ALL = text(f"SELECT {_STATE} FROM run_state WHERE run_id = :id ORDER BY key")  # noqa: S608
_DELETE = text("DELETE FROM run_state WHERE run_id = :id AND key = :key")


def annotate(connection: Connection, run_id: UUID, lease: int, annotations: Mapping[str, str]) -> Run:
    """Merge annotations into the run's metadata; raises RunRefused and TooManyKeys."""
    values = {"id": run_id, "lease": lease, "annotations": json.dumps(annotations)}
    row = connection.execute(_ANNOTATE, values).mappings().one_or_none()
    if row is None:
        raise fence.refusal(connection, run_id, lease)
    run = run_of(row)
    if len(json.dumps(run.metadata)) > MAX_ANNOTATIONS_BYTES:
        raise TooManyKeys(f"the annotations of a run are at most {MAX_ANNOTATIONS_BYTES} bytes in all")
    return run


def save_checkpoint(connection: Connection, run_id: UUID, lease: int, state: Any, source: str) -> Checkpoint:
    """Keep a state, numbered 1, 2, 3, …; only the last CHECKPOINTS_KEPT stay. Raises RunRefused."""
    values = {
        "id": run_id,
        "lease": lease,
        "checkpoint": ids.new_ordered_id(),
        "source": source,
        "state": json.dumps(state),
        "kept": CHECKPOINTS_KEPT,
    }
    rows = fetch(connection, _SAVE, values)
    if not rows:
        raise fence.refusal(connection, run_id, lease)
    return Checkpoint(**rows[0])


def last_checkpoint(connection: Connection, run_id: UUID) -> Checkpoint | None:
    """Read the newest checkpoint of a run, whichever attempt left it."""
    rows = fetch(connection, _LAST, {"id": run_id})
    return Checkpoint(**rows[0]) if rows else None


def checkpoint(connection: Connection, run_id: UUID, sequence: int) -> Checkpoint | None:
    """Read one checkpoint; only the last few are kept."""
    row = connection.execute(_READ, {"id": run_id, "sequence": sequence}).mappings().one_or_none()
    return Checkpoint(**row) if row else None


def checkpoints(connection: Connection, run_id: UUID) -> list[Checkpoint]:
    """Read the checkpoints that are still kept, oldest first."""
    values = {"id": run_id, "kept": CHECKPOINTS_KEPT}
    return [Checkpoint(**row) for row in connection.execute(_KEPT, values).mappings()]


def copy_checkpoint(connection: Connection, origin: UUID, sequence: int, run_id: UUID) -> None:
    """Let a new run begin with a checkpoint of another one as its first; raises CheckpointNotKept."""
    values = {"origin": origin, "sequence": sequence, "id": run_id, "checkpoint": ids.new_ordered_id()}
    if connection.execute(_COPY, values).one_or_none() is None:
        raise CheckpointNotKept(origin, sequence)


def document(kept: Checkpoint) -> dict[str, Any]:
    """Write a checkpoint as the executor API shows it."""
    return {
        "id": str(kept.id),
        "run_id": str(kept.run_id),
        "sequence": kept.sequence,
        "source": kept.source,
        "state": kept.state,
        "created_at": rfc3339(kept.created_at),
    }


def put_state(connection: Connection, run_id: UUID, lease: int, key: str, value: Any) -> StateValue:
    """Set a key of the run's state; raises RunRefused and TooManyKeys."""
    keep_alive(connection, run_id, lease)  # its row lock also keeps the count of keys right
    values = {"id": run_id, "key": key, "value": json.dumps(value), "most": MAX_STATE_KEYS}
    row = connection.execute(_PUT, values).mappings().one_or_none()
    if row is None:
        raise TooManyKeys(f"a run keeps at most {MAX_STATE_KEYS} keys")
    return StateValue(**row)


def state(connection: Connection, run_id: UUID) -> list[StateValue]:
    """Read the whole state, ordered by key."""
    return [StateValue(**row) for row in connection.execute(_ALL, {"id": run_id}).mappings()]


def state_value(connection: Connection, run_id: UUID, key: str) -> StateValue | None:
    """Read one key."""
    row = connection.execute(_GET, {"id": run_id, "key": key}).mappings().one_or_none()
    return StateValue(**row) if row else None


def delete_state(connection: Connection, run_id: UUID, lease: int, key: str) -> None:
    """Remove a key; removing what is not there is no fault. Raises RunRefused."""
    keep_alive(connection, run_id, lease)
    connection.execute(_DELETE, {"id": run_id, "key": key})


def keep_alive(connection: Connection, run_id: UUID, lease: int) -> None:
    """Prove the lease and hold the run's row until the transaction ends; raises RunRefused."""
    if connection.execute(_LIVE, {"id": run_id, "lease": lease}).one_or_none() is None:
        raise fence.refusal(connection, run_id, lease)
