"""Pools as administrators see them: who serves one, and how long its line is."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, text

DEFAULT = "default"
_RUNS = text("""
    SELECT pool, count(*) FILTER (WHERE status IN ('queued', 'dequeued')) AS depth,
        count(DISTINCT executor) FILTER (WHERE status = 'executing' AND executor <> 'caller') AS at_work
    FROM run WHERE status IN ('queued', 'dequeued', 'executing') GROUP BY pool
""")


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A pool. `size` counts executors live or at work, `queue_depth` runs that nobody has claimed."""

    name: str
    size: int
    live_executors: int
    queue_depth: int


def census(connection: Connection, live: Mapping[str, int]) -> list[Pool]:
    """List every pool that has executors or runs, and the default one; `live` counts executors by pool."""
    rows = {row.pool: row for row in connection.execute(_RUNS)}
    return [
        Pool(
            name=name,
            size=max(live.get(name, 0), rows[name].at_work if name in rows else 0),
            live_executors=live.get(name, 0),
            queue_depth=rows[name].depth if name in rows else 0,
        )
        for name in sorted({DEFAULT, *rows, *live})
    ]
