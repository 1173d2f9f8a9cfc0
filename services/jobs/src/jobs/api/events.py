"""How an event of a run is written, to executors and to those who watch."""

from typing import Any

from common.clock import rfc3339
from jobs.engine.journal import OWN_TYPES
from jobs.engine.tables import Event


def event_document(event: Event) -> dict[str, Any]:
    """Write an event; logs have `message` and `data`, progress has its own members as `data`."""
    rest = dict(event.data)
    document = {
        "id": event.seq,
        "run_id": str(event.run_id),
        "type": event.type,
        "level": event.level,
        "message": str(rest.pop("message", "")),
        "created_at": rfc3339(event.at),
    }
    data = (rest or None) if event.type in OWN_TYPES else rest.get("data")
    return document if data is None else {**document, "data": data}
