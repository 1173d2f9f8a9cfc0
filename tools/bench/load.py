"""Load from wrk: whole requests, written beforehand, sent one after the other round and round."""

import re
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import peers
from bench.figures import Measured
from bench.place import LOAD_CORE, cpu_seconds

SCRIPT = Path(__file__).parent / "load.lua"
_MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


class Refused(Exception):
    """Answers were not what was asked for: nothing was measured."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What one stretch of load came to."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float


def request(method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """Write a request down (RFC 9112 §3)."""
    length = {"Content-Length": str(len(body))} if body else {}
    lines = [f"{name}: {value}" for name, value in {"Host": "localhost", **headers, **length}.items()]
    return f"{method} {target} HTTP/1.1\r\n".encode() + "\r\n".join([*lines, "", ""]).encode() + body


def write(path: Path, requests: Iterable[bytes]) -> Path:
    """Write requests where the script reads them, each behind its length."""
    path.write_bytes(b"".join(b"%d\n%s" % (len(each), each) for each in requests))
    return path


def send(port: int, requests: Path, *, connections: int, seconds: float) -> Load:
    """Send requests from the load's core. Raises Refused when an answer was not a success."""
    wrk = [peers.debian("wrk", "wrk"), "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency"]
    command = ["taskset", "-c", str(LOAD_CORE), *wrk, "-s", str(SCRIPT), f"http://127.0.0.1:{port}"]
    done = subprocess.run([*command, "--", str(requests)], capture_output=True, text=True, check=False)
    return read(done.stdout + done.stderr)


def read(said: str) -> Load:
    """Read what wrk says. Raises Refused."""
    bad = re.search(r"Non-2xx or 3xx responses: \d+|Socket errors: .*", said)
    total, rate = re.search(r"(\d+) requests in", said), re.search(r"Requests/sec:\s+([\d.]+)", said)
    if bad or not total or not rate:
        raise Refused(bad[0] if bad else said[-500:])
    return Load(
        requests=int(total[1]),
        per_second=float(rate[1]),
        p50_ms=_milliseconds(said, "50%"),
        p99_ms=_milliseconds(said, "99%"),
    )


def measured(pids: Sequence[int], send: Callable[[], Load]) -> Measured:
    """Measure a stretch of load, and what it cost the processes below `pids`."""
    before = cpu_seconds(pids)
    load = send()
    used = cpu_seconds(pids) - before
    return {
        "per_second": load.per_second,
        "cpu_us": used / max(load.requests, 1) * 1e6,
        "p50_ms": load.p50_ms,
        "p99_ms": load.p99_ms,
    }


def _milliseconds(said: str, part: str) -> float:
    found = re.search(rf"{part}\s+([\d.]+)(us|ms|s|m)\b", said)
    return float(found[1]) * _MILLISECONDS[found[2]] if found else 0.0
