"""Answers pass as they are made, and break off as they break off."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import urllib3

from common import principal

MIB = 1024 * 1024


def test_an_answer_streams_while_it_is_made(wire: Any) -> None:
    go_on = threading.Event()

    def page(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for piece in (b"first", b"second", b""):
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            handler.wfile.flush()
            assert go_on.wait(5)

    wire.upstream.pages["/api/v1/jobs/5"] = page
    answer = wire.ask("GET", "/api/v1/jobs/5", preload_content=False)
    assert answer.read1() == b"first"  # the rest is not even written yet
    go_on.set()
    assert answer.read() == b"second"


def test_the_head_of_a_stream_does_not_wait_for_its_first_byte(wire: Any) -> None:
    go_on = threading.Event()

    def page(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Connection", "close")
        handler.end_headers()
        assert go_on.wait(5)
        handler.wfile.write(b"data: x\n\n")
        handler.close_connection = True

    wire.upstream.pages["/api/v1/jobs/6"] = page
    answer = wire.ask("GET", "/api/v1/jobs/6", preload_content=False)
    assert answer.headers["Content-Type"] == "text/event-stream"
    go_on.set()
    assert answer.read() == b"data: x\n\n"


def test_a_live_stream_passes_event_by_event_with_the_place_to_resume_from(wire: Any) -> None:
    go_on = threading.Event()

    def page(handler: Any) -> None:
        headers = list(handler.headers.items())
        caller = principal.verify(headers, "GET", handler.path, wire.key, int(time.time()))
        assert caller.expires_at > time.time()  # the stream ends with the token
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for number in (8, 9):
            event = f"id: {number}\ndata: {handler.headers['Last-Event-ID']}\n\n".encode()
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            assert go_on.wait(5)
        handler.wfile.write(b"0\r\n\r\n")

    wire.upstream.pages["/v1/runs/11/stream"] = page
    answer = wire.ask("GET", "/v1/runs/11/stream", headers={"Last-Event-ID": "7"}, preload_content=False)
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.read1() == b"id: 8\ndata: 7\n\n"
    go_on.set()
    assert answer.read() == b"id: 9\ndata: 7\n\n"


def _rss_mib(pid: int) -> float:
    """Memory of the workers of a gunicorn master."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    lines = [line for child in children for line in Path(f"/proc/{child}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def test_a_large_answer_is_not_kept_in_memory(wire: Any) -> None:
    def page(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(80 * MIB))
        handler.end_headers()
        for _ in range(80):
            handler.wfile.write(b"x" * MIB)

    wire.upstream.pages["/api/v1/jobs/7"] = page
    before = _rss_mib(wire.gateway.pid)
    answer = wire.ask("GET", "/api/v1/jobs/7", preload_content=False)
    assert sum(len(piece) for piece in answer.stream(MIB)) == 80 * MIB
    assert _rss_mib(wire.gateway.pid) - before < 20


def test_a_client_that_leaves_takes_the_upstream_connection_along(wire: Any) -> None:
    cut = threading.Event()

    def page(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(10**12))
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * MIB)
        except OSError:
            cut.set()
            handler.close_connection = True

    wire.upstream.pages["/api/v1/jobs/8"] = page
    answer = wire.ask("GET", "/api/v1/jobs/8", preload_content=False)
    assert answer.read(10) == b"x" * 10
    answer.close()
    assert cut.wait(5)


@pytest.mark.parametrize("chunked", [False, True])
def test_an_answer_that_breaks_off_breaks_off_for_the_client_too(wire: Any, chunked: bool) -> None:
    def page(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", "100")))
        handler.end_headers()
        handler.wfile.write(b"5\r\nhello\r\n" if chunked else b"hello")
        handler.close_connection = True

    wire.upstream.pages["/api/v1/jobs/9"] = page
    with pytest.raises(urllib3.exceptions.HTTPError):
        wire.ask("GET", "/api/v1/jobs/9")
