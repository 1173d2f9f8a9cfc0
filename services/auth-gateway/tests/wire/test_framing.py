"""What a relay must not get wrong: where a request ends, where an answer ends, and who hears of it."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

FORWARD = "gateway.relay.worker.RelayWorker"
BAD = b"HTTP/1.1 400"


@contextlib.contextmanager
def opened(wire: Any, wait: float = 8) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", wire.gateway.port), timeout=wait) as connection:
        yield connection


def head(wire: Any, line: str = "GET /api/v1/jobs HTTP/1.1", *more: str) -> bytes:
    lines = [line, "Host: x", f"Authorization: Bearer {wire.token}", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def until(connection: socket.socket, mark: bytes) -> bytes:
    answer = b""
    while mark not in answer:
        piece = connection.recv(65536)
        assert piece, answer
        answer += piece
    return answer


def paths(wire: Any) -> list[str]:
    return [path for _, path, _, _ in wire.upstream.seen]


def test_pipelined_requests_are_answered_in_order(wire: Any) -> None:
    for number in range(4):
        wire.upstream.pages[f"/api/v1/jobs/p{number}"] = (200, {}, b"<%d>" % number)
    pipeline = b"".join(head(wire, f"GET /api/v1/jobs/p{number} HTTP/1.1") for number in range(4))
    with opened(wire) as connection:
        connection.sendall(pipeline)
        answer = until(connection, b"<3>")
    assert [answer.index(b"<%d>" % number) for number in range(4)] == sorted(
        answer.index(b"<%d>" % number) for number in range(4)
    )
    assert paths(wire) == [f"/api/v1/jobs/p{number}" for number in range(4)]


def test_a_broken_request_behind_another_is_refused_after_it_was_answered(wire: Any) -> None:
    go_on = threading.Event()

    def page(handler: Any) -> None:
        assert go_on.wait(10)
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")

    wire.upstream.pages["/api/v1/jobs/slow"] = page
    broken = head(wire, "POST /api/v1/jobs HTTP/1.1", "Transfer-Encoding: chunked") + b"zz\r\n"
    with opened(wire, wait=15) as connection:
        connection.sendall(head(wire, "GET /api/v1/jobs/slow HTTP/1.1") + broken)
        go_on.set()
        answer = until(connection, b"first")
        rest = answer.partition(b"first")[2]
        with contextlib.suppress(ConnectionError):
            rest += b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert not rest or rest.startswith(BAD)  # gunicorn closes without a word
    assert "/api/v1/jobs" not in paths(wire)


def test_a_body_is_not_taken_for_the_next_request(wire: Any) -> None:
    hidden = b"GET /api/v1/jobs/hidden HTTP/1.1\r\nHost: x\r\n\r\n"
    with opened(wire) as connection:
        connection.sendall(
            head(wire, "POST /api/v1/jobs HTTP/1.1", f"Content-Length: {len(hidden)}") + hidden
        )
        until(connection, b"{}")
        connection.sendall(head(wire, "GET /api/v1/jobs/after HTTP/1.1"))
        until(connection, b"{}")
    assert paths(wire) == ["/api/v1/jobs", "/api/v1/jobs/after"]
    assert wire.upstream.seen[0][3] == hidden


def test_each_request_of_a_connection_has_its_own_body_under_the_same_headers(wire: Any) -> None:
    same = head(wire, "POST /api/v1/jobs HTTP/1.1", "Content-Length: 5")
    with opened(wire) as connection:
        for body in (b"first", b"other", b"third"):
            connection.sendall(same + body)
            until(connection, b"{}")
        connection.sendall(same + b"in p")
        connection.sendall(b"i")
        until(connection, b"{}")
    assert [body for _, _, _, body in wire.upstream.seen] == [b"first", b"other", b"third", b"in pi"]


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 3", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 3"),
        ("Content-Length: 3", "Content-Length: 4"),
        ("Content-Length: +3",),
        ("Content-Length: 3, 4",),
        ("Content-Length: 0x3",),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        ("X-Folded: a\r\n b", "Content-Length: 3"),
        ("X-Bare: a\nContent-Length: 3",),
        ("Content-Length : 3",),
        ("X-Nul: a\x00b", "Content-Length: 3"),
    ],
)
def test_a_request_that_can_be_framed_in_two_ways_is_refused(wire: Any, lines: tuple[str, ...]) -> None:
    smuggled = b"0\r\n\r\nGET /api/v1/jobs/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    with opened(wire) as connection:
        connection.sendall(head(wire, "POST /api/v1/jobs HTTP/1.1", *lines) + smuggled)
        answer = b""
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while piece := connection.recv(65536):
                answer += piece
    assert answer.startswith((BAD, b"HTTP/1.1 501")), answer
    assert paths(wire) == []


@pytest.mark.parametrize("chunk", [b"0x3\r\nabc", b"-3\r\nabc", b"3\r\nabcd", b"3\nabc", b"zz\r\nabc"])
def test_odd_chunks_are_refused_and_never_forwarded_as_a_whole(wire: Any, chunk: bytes) -> None:
    body = chunk + b"\r\n0\r\n\r\n"
    with opened(wire) as connection:
        connection.sendall(head(wire, "POST /api/v1/jobs HTTP/1.1", "Transfer-Encoding: chunked") + body)
        assert connection.recv(65536).startswith(BAD)
    assert wire.upstream.seen == []


def test_chunks_arrive_without_their_extensions_and_trailers(wire: Any) -> None:
    body = b"3;name=value\r\nabc\r\n2\r\nde\r\n0\r\nX-Auth-Subject: root\r\n\r\n"
    with opened(wire) as connection:
        connection.sendall(head(wire, "POST /api/v1/jobs HTTP/1.1", "Transfer-Encoding: chunked") + body)
        until(connection, b"{}")
    [(_, _, headers, received)] = wire.upstream.seen
    assert received == b"abcde"
    assert "root" not in dict(headers).values()


def test_trailers_of_an_answer_are_dropped(wire: Any) -> None:
    def page(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"3\r\nabc\r\n0\r\nX-Trailer: t\r\n\r\n")

    wire.upstream.pages["/api/v1/jobs/trailer"] = page
    with opened(wire) as connection:
        connection.sendall(head(wire, "GET /api/v1/jobs/trailer HTTP/1.1", "Connection: close"))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b"abc" in answer
    assert b"X-Trailer" not in answer


def test_an_early_hint_is_not_taken_for_the_answer(wire: Any) -> None:
    def page(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n")
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody")

    wire.upstream.pages["/api/v1/jobs/hint"] = page
    wire.upstream.pages["/api/v1/jobs/other"] = (200, {}, b"other")
    for _ in range(2):
        answer = wire.ask("GET", "/api/v1/jobs/hint")
        # the plain lane's client cannot tell the two apart: it gives the connection up
        assert (answer.status, answer.data == b"body") in ((200, True), (502, False))
        assert wire.ask("GET", "/api/v1/jobs/other").data == b"other"


def test_an_upgrade_is_not_made(wire: Any) -> None:
    request = head(wire, "GET /api/v1/jobs HTTP/1.1", "Connection: Upgrade", "Upgrade: h2c")
    with opened(wire, wait=1) as connection:
        connection.sendall(request + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200")
    assert len(paths(wire)) == 1
    assert "upgrade" not in {name.lower() for name, _ in wire.upstream.seen[0][2]}


@pytest.mark.parametrize("framing", ["Content-Length: 400", "Transfer-Encoding: chunked"])
def test_a_request_to_upgrade_that_announces_a_body_is_refused(wire: Any, framing: str) -> None:
    """Sent on without its body, it would swallow the next request of the connection to the service."""
    request = head(wire, "POST /api/v1/jobs HTTP/1.1", "Connection: Upgrade", "Upgrade: h2c", framing)
    with opened(wire) as connection:
        connection.sendall(request + b"body")
        assert connection.recv(65536).startswith(BAD)
    assert wire.ask("GET", "/api/v1/jobs").status == 200


def test_a_service_that_wants_to_upgrade_is_a_502(wire: Any) -> None:
    def page(handler: Any) -> None:
        handler.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00"
        )
        handler.close_connection = True

    wire.upstream.pages["/api/v1/jobs/101"] = page
    assert wire.ask("GET", "/api/v1/jobs/101").status == 502


def test_a_client_that_sends_no_more_still_gets_its_answer(wire: Any) -> None:
    with opened(wire) as connection:
        connection.sendall(head(wire))
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")


def test_a_client_of_http_1_0_gets_an_answer_that_ends_with_the_connection(wire: Any) -> None:
    def page(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"3\r\nabc\r\n0\r\n\r\n")

    wire.upstream.pages["/api/v1/jobs/old"] = page
    with opened(wire) as connection:
        connection.sendall(head(wire, "GET /api/v1/jobs/old HTTP/1.0"))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.endswith(b"\r\n\r\nabc")
    assert b"chunked" not in answer.lower()


@pytest.mark.parametrize("more", [[f"X-{number}: v" for number in range(200)], ["X-Long: " + "v" * 40_000]])
def test_a_head_that_is_too_large_is_refused(wire: Any, more: list[str]) -> None:
    with opened(wire) as connection:
        connection.sendall(head(wire, "GET /api/v1/jobs HTTP/1.1", *more))
        assert connection.recv(65536).startswith((BAD, b"HTTP/1.1 431"))
    assert wire.upstream.seen == []


def test_a_head_that_never_ends_does_not_grow_for_ever(wire: Any) -> None:
    with opened(wire) as connection:
        connection.sendall(b"GET /api/v1/jobs HTTP/1.1\r\nX-Long: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(64):
                connection.sendall(b"v" * 65536)
            while connection.recv(65536):
                pass
    assert wire.upstream.seen == []


@pytest.mark.parametrize("line", ["GET /api/v1/jobs HTTP/2.0", "GET /api/v1/jobs HTTP/1.1\r\nHost: y"])
def test_another_version_or_a_second_host_is_refused(wire: Any, line: str) -> None:
    with opened(wire) as connection:
        connection.sendall(head(wire, line))
        assert connection.recv(65536).startswith((BAD, b"HTTP/1.1 505"))
    assert wire.upstream.seen == []


def test_a_service_that_dies_before_its_answer_is_not_asked_twice_for_a_post(wire: Any) -> None:
    asked = []

    def page(handler: Any) -> None:
        asked.append(1)
        handler.close_connection = True

    wire.upstream.pages["/api/v1/jobs/dies"] = page
    assert wire.ask("GET", "/api/v1/jobs").status == 200  # a used connection lies ready
    assert wire.ask("POST", "/api/v1/jobs/dies", body=b"{}").status == 502
    assert len(asked) == 1


def test_an_answer_that_came_before_the_whole_body_is_passed_on(wire: Any) -> None:
    def page(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        handler.close_connection = True

    wire.upstream.pages["/api/v1/jobs/early"] = page
    answer = wire.ask("POST", "/api/v1/jobs/early", body=b"x" * 1000)
    assert (answer.status, answer.data) == (403, b"no")


@pytest.mark.parametrize("lane", [FORWARD], indirect=True)  # a thread of the plain lane waits for it
def test_a_body_that_drips_does_not_hold_a_place_for_ever(wire: Any) -> None:
    began = time.monotonic()
    with opened(wire, wait=20) as connection:
        connection.sendall(head(wire, "POST /api/v1/jobs HTTP/1.1", "Content-Length: 1000"))
        connection.settimeout(0.5)
        answer = b""
        while not answer and time.monotonic() - began < 15:
            with contextlib.suppress(TimeoutError, ConnectionError):
                connection.sendall(b"x")
                answer = connection.recv(65536)
    assert answer.startswith(BAD)
    assert all(len(body) < 1000 for _, _, _, body in wire.upstream.seen)
