"""P7: a million output sets listed: what the service holds, and when the first byte comes."""

import time
from collections.abc import Sequence
from functools import partial

import urllib3

from bench import stored
from bench.conditions import Conditions, Said
from bench.figures import Measured, Result, Round, in_turn, limited, series_of, spread
from bench.place import peak_mb
from bench.stacks import Measured as Stack
from bench.stacks import measured_stack

SETS = 1_000_000
LIST = "/api/v1/output-sets?partner=ea"
MEMORY_MB, FIRST_BYTE_MS = 100.0, 100.0
CHUNK_BYTES = 1 << 18


def measure(conditions: Conditions, count: int = SETS) -> tuple[list[Result], Said]:
    """Measure the row."""
    with measured_stack() as stack:
        stored.output_sets(stack, count)
        listed(stack)
        rounds = in_turn({"ours": partial(listed, stack)}, conditions.pairs)
    return [
        limit(
            rounds,
            f"{count:,} output sets listed: memory of the worker at its peak",
            "memory_mb",
            MEMORY_MB,
            "MB",
        ),
        limit(rounds, f"{count:,} output sets listed: first byte", "first_byte_ms", FIRST_BYTE_MS, "ms"),
    ], Said(versions={}, skipped=[])


def limit(rounds: Sequence[Round], work: str, quantity: str, limit: float, unit: str) -> Result:
    rate = spread(series_of(rounds, "ours", "per_second")).median
    note = f"Through the gateway, whole list read: {rate:,.0f} sets/s."
    return limited("P7", work, series_of(rounds, "ours", quantity), limit=limit, unit=unit, note=note)


def listed(stack: Stack, query: str = "") -> Measured:
    """Read the whole list as it comes."""
    http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=3, read=60))
    headers = {"Authorization": f"Bearer {stack.token}"}
    with peak_mb(stack.pids("outputs")) as peak, http:
        began = time.monotonic()
        answer = http.request(
            "GET", f"{stack.local.gateway_url}{LIST}{query}", headers=headers, preload_content=False
        )
        sets, first_at = 0, 0.0
        for chunk in answer.stream(CHUNK_BYTES):
            first_at = first_at or time.monotonic()
            sets += chunk.count(b'"uid"')
        seconds = time.monotonic() - began
    return {
        "first_byte_ms": (first_at - began) * 1000,
        "per_second": sets / seconds,
        "memory_mb": peak(),
    }
