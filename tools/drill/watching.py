"""Follow a run live, through every outage, as a client would: from the last event it saw."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import urllib3

from drill.api import Api

PATIENCE_SECONDS = 360.0


@dataclass(kw_only=True)
class Watched:
    """What a watcher has seen: the places of the events, and the word at the end."""

    places: list[int] = field(default_factory=list)
    end: str = ""
    connections: int = 0

    @property
    def fault(self) -> str:
        """Say what is wrong with what was seen."""
        if self.places != list(range(1, len(self.places) + 1)):
            return f"its stream has a gap or a repeat: {self.places}"
        return "" if self.end else "its stream never ended"


def watch(api: Api, run: str, seen: Watched) -> None:
    """Follow a run until its stream says how it ended; come back whenever it breaks off."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not seen.end and time.monotonic() < until:
        try:
            _follow(api, run, seen)
        except (urllib3.exceptions.HTTPError, OSError):
            time.sleep(0.3)


def _follow(api: Api, run: str, seen: Watched) -> None:
    headers = {"Authorization": f"Bearer {api.token}"}
    if seen.places:
        headers["Last-Event-ID"] = str(seen.places[-1])
    url = f"{api.gateway}/v1/runs/{run}/stream"
    timeout = urllib3.Timeout(connect=2, read=20)
    answer = urllib3.request(
        "GET", url, headers=headers, preload_content=False, retries=False, timeout=timeout
    )
    seen.connections += 1
    try:
        if answer.status != 200:
            time.sleep(0.3)
            return
        event: dict[str, str] = {}
        for line in _lines(answer):
            name, _, value = line.partition(": ")
            if name:
                event[name] = value
                continue
            _note(event, seen)
            event = {}
    finally:
        answer.close()


def _lines(answer: urllib3.BaseHTTPResponse) -> Iterator[str]:
    rest = b""
    for piece in answer.stream(4096, decode_content=False):
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line.decode() for line in lines)


def _note(event: dict[str, str], seen: Watched) -> None:
    if event.get("event") == "end":
        seen.end = json.loads(event["data"])["status"]
    elif "id" in event:
        seen.places.append(int(event["id"]))
