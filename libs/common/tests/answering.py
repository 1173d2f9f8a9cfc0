"""An application for the tests of the worker of greenlets: each path answers in its own way."""

import json
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from werkzeug.exceptions import BadRequest

from common import connections, greenlets

_released = threading.Event()
_left = threading.Event()
_headers = [("Content-Type", "application/json")]


def build() -> Any:
    """Make the application; silence is short here."""
    connections.SILENCE_SECONDS = connections.STUCK_SECONDS = 1.0
    return answer


def answer(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    """Answer with the first word of the path, or with what was understood."""
    return _PAGES.get(environ["PATH_INFO"].split("/")[1], echo)(environ, start)


def echo(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    body = environ["wsgi.input"].read().decode()
    known = {name: value for name, value in environ.items() if isinstance(value, str)}
    document = json.dumps({**known, "body": body}).encode()
    start("200 OK", [*_headers, ("Content-Length", str(len(document)))])
    return [document]


def size(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    read = 0
    try:
        while piece := environ["wsgi.input"].read(10_000):
            read += len(piece)
    except BadRequest:
        start("400 Bad Request", _headers)
    else:
        start("200 OK", _headers)
    return [str(read).encode()]


def patient(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    environ[connections.PATIENCE](60)
    return echo(environ, start)


def unread(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    start("403 Forbidden", [*_headers, ("Content-Length", "2")])
    return [b"no"]


def nothing(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    start("204 No Content", [])
    return []


def waits(environ: dict[str, Any], start: Any) -> Iterator[bytes]:
    start("200 OK", _headers)
    yield b"first"
    assert _released.wait(60)
    yield b"last"


def spins(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    start("200 OK", _headers)
    return [greenlets.apart(_spin)]


def _spin() -> bytes:
    while not _released.is_set():
        pass
    return b"spun"


def release(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    _released.set()
    return nothing(environ, start)


def hold(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    _released.clear()
    _left.clear()
    return nothing(environ, start)


def endless(environ: dict[str, Any], start: Any) -> Iterator[bytes]:
    start("200 OK", _headers)
    try:
        while True:
            yield b"x" * 65536
    finally:
        _left.set()


def left(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    start("200 OK", _headers)
    return [b"yes" if _left.is_set() else b"no"]


def raises(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    raise LookupError("the secret of the application")


def breaks(environ: dict[str, Any], start: Any) -> Iterator[bytes]:
    start("200 OK", _headers)
    yield b"first"
    raise LookupError("in mid-answer")


def short(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    start("200 OK", [*_headers, ("Content-Length", "10")])
    return [b"12345"]


_PAGES = {
    page.__name__: page
    for page in (
        size,
        patient,
        unread,
        nothing,
        waits,
        spins,
        release,
        hold,
        endless,
        left,
        raises,
        breaks,
        short,
    )
}
