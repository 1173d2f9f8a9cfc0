"""How a stream is written: Server-Sent Events (HTML Standard §9.2). Pure."""

import json
import re
from collections.abc import Mapping
from typing import Any

from jobs.api.events import event_document
from jobs.engine.news import Standing
from jobs.engine.tables import Event

RETRY_MS = 2000
OPENING = b"retry: %d\n\n" % RETRY_MS
COMMENT = b": still here\n\n"
_BREAKS = re.compile(r"[\r\n\0]")


def of_event(event: Event) -> bytes:
    """Write an event of a run's history under its number."""
    name = _BREAKS.sub(" ", event.type)  # an executor chose it
    return f"id: {event.seq}\nevent: {name}\n{_data(event_document(event))}".encode()


def of_end(standing: Standing) -> bytes:
    """Write the last word of a stream: how the run ended. It has no number of its own."""
    return f"event: end\n{_data({'run_id': str(standing.run_id), 'status': standing.status})}".encode()


def _data(document: Mapping[str, Any]) -> str:
    # ASCII only: every line break of a text, U+2028 too, is escaped, and the data is one line.
    return f"data: {json.dumps(document, separators=(',', ':'))}\n\n"
