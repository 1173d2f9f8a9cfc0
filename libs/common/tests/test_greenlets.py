"""The worker of greenlets under gunicorn: what clients send and how they leave, what they are answered."""

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
import urllib3
from psycopg2.extensions import POLL_READ

from common import greenlets
from stack.launch import Launch, Server, this_python
from stack.ports import free_port
from stack.processes import answers_ok

WAIT_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Web:
    """The process, and ways to ask it."""

    port: int
    server: Server

    def get(self, path: str, method: str = "GET", **options: Any) -> Any:
        url = f"http://127.0.0.1:{self.port}{path}"
        return urllib3.request(method, url, retries=False, timeout=WAIT_SECONDS, **options)

    @contextlib.contextmanager
    def open(self, said: bytes = b"") -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), WAIT_SECONDS) as connection:
            connection.sendall(said)
            yield connection

    def raw(self, said: bytes) -> bytes:
        """Say something, and read until the connection is closed."""
        with self.open(said) as connection:
            return everything(connection)


def eventually(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + WAIT_SECONDS
    while not (found := is_so()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def is_refused(connection: socket.socket, said: bytes) -> bool:
    try:
        connection.sendall(said)
    except ConnectionError:
        return True
    return False


def everything(connection: socket.socket) -> bytes:
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            said += piece
    return said


def until(connection: socket.socket, mark: bytes) -> bytes:
    said = b""
    while mark not in said:
        piece = connection.recv(65536)
        assert piece, said
        said += piece
    return said


def head(line: str = "GET /echo HTTP/1.1", *more: str) -> bytes:
    return "\r\n".join([line, "Host: x", *more, "", ""]).encode("latin-1")


def last(*more: str, path: str = "/echo", method: str = "GET") -> bytes:
    return head(f"{method} {path} HTTP/1.1", "Connection: close", *more)


def understood(answer: bytes) -> dict[str, str]:
    found: dict[str, str] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return found


def statuses(answer: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Web]:
    port = free_port()
    launch = Launch(
        name="answering",
        command=this_python("gunicorn", "-c", "python:common.serving", "answering:build()"),
        folder=Path(__file__).parent,
        stop_signal=SIGTERM,
        is_ready=answers_ok(f"http://127.0.0.1:{port}/echo"),
        environment={"PORT": str(port), "WEB_WORKERS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    server = Server(launch, folder / "log", on_start=lambda _: None)
    try:
        server.start().wait_ready(timeout_seconds=WAIT_SECONDS)
        yield Web(port=port, server=server)
    finally:
        server.stop(timeout_seconds=WAIT_SECONDS)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with serving(tmp_path_factory.mktemp("answering")) as running:
        yield running
        assert "failed with" not in running.server.log.read_text()


# -- what is understood ----------------------------------------------------------------------------------


def test_the_target_is_kept_as_it_came_beside_what_it_says(web: Web) -> None:
    found = understood(web.raw(last(path="/a%2Fb//c%C3%A9?q=%20&r=a+b?c")))
    assert found["RAW_URI"] == "/a%2Fb//c%C3%A9?q=%20&r=a+b?c"
    assert found["PATH_INFO"].encode("latin-1").decode() == "/a/b//cé"
    assert found["QUERY_STRING"] == "q=%20&r=a+b?c"
    assert (found["REQUEST_METHOD"], found["SERVER_PROTOCOL"]) == ("GET", "HTTP/1.1")
    assert (found["REMOTE_ADDR"], found["SERVER_PORT"]) == ("127.0.0.1", str(web.port))


def test_headers_are_told_apart(web: Web) -> None:
    headers = (
        "X-Auth-Kind: run",
        "x_auth_kind: client",
        "X-Two:a",
        "x-two:  b \t",
        "Content-Type: text/plain",
    )
    found = understood(web.raw(last(*headers)))
    assert (found["HTTP_X_AUTH_KIND"], found["HTTP_X_TWO"]) == ("run", "a,b")
    assert found["CONTENT_TYPE"] == "text/plain"
    assert "HTTP_CONTENT_TYPE" not in found


def test_a_head_may_come_in_pieces(web: Web) -> None:
    said = last("X-Long: " + "v" * 500, "Content-Length: 5", method="POST") + b"abcde"
    with web.open() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(said), 7):
            connection.sendall(said[start : start + 7])
        found = understood(everything(connection))
    assert (found["HTTP_X_LONG"], found["body"]) == ("v" * 500, "abcde")


@pytest.mark.parametrize(
    "framing",
    [
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: 5, 6",),
        ("Content-Length: +5",),
        ("Content-Length : 5",),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        ("X-Folded: a\r\n b", "Content-Length: 5"),
        ("X-Bare: a\nContent-Length: 5",),
        ("X-Nul: a\0", "Content-Length: 5"),
        ("Host: y", "Content-Length: 5"),
        ("Connection: Upgrade", "Upgrade: h2c", "Content-Length: 5"),
    ],
)
def test_a_request_that_can_be_framed_in_two_ways_is_refused(web: Web, framing: tuple[str, ...]) -> None:
    hidden = b"0\r\n\r\n" + last(path="/hidden")
    answer = web.raw(head("POST /echo HTTP/1.1", *framing) + hidden)
    assert statuses(answer) == [b"400"], answer
    assert b"application/problem+json" in answer
    assert b"hidden" not in answer


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"hello\r\n\r\n", b"400"),
        (b"GET /echo HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /echo HTTP/3.0\r\nHost: x\r\n\r\n", b"400"),
        (b"GET http://x/echo HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"GET /echo#fragment HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400"),
        (head("GET /" + "a" * 20_000 + " HTTP/1.1"), b"414"),
        (head("GET /echo HTTP/1.1", "X-Long: " + "v" * 100_000), b"431"),
        (head("GET /echo HTTP/1.1", *(f"X-{number}: v" for number in range(101))), b"431"),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_a_head_that_is_none_or_has_no_bounds_is_refused(web: Web, said: bytes, status: bytes) -> None:
    assert statuses(web.raw(said)) == [status]


def test_the_name_of_a_header_has_no_end_either(web: Web) -> None:
    with web.open(b"GET /echo HTTP/1.1\r\nHost: x\r\nX-") as connection, contextlib.suppress(ConnectionError):
        for _ in range(100):
            connection.sendall(b"a" * 10_000)
    assert web.get("/echo").status == 200


# -- bodies ----------------------------------------------------------------------------------------------


def test_a_large_body_is_read_as_it_comes(web: Web) -> None:
    body = b"y" * 3_000_000
    assert web.get("/size", "POST", body=body).data == b"3000000"
    assert web.get("/size", "POST", body=iter([body, b"z"])).data == b"3000001"


def test_a_body_is_asked_for_only_when_it_is_read(web: Web) -> None:
    expecting = last("Expect: 100-continue", "Content-Length: 5", method="POST")
    with web.open(expecting) as connection:
        until(connection, b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.sendall(b"abcde")
        assert understood(everything(connection))["body"] == "abcde"
    refused = head("POST /unread HTTP/1.1", "Expect: 100-continue", "Content-Length: 5")
    answer = web.raw(refused)
    assert statuses(answer) == [b"403"]
    assert b"Connection: close" in answer


@pytest.mark.parametrize("chunk", [b"0x3\r\nabc", b"-3\r\nabc", b"3\r\nabcd", b"3\nabc", b"zz\r\nabc"])
def test_a_body_of_odd_chunks_breaks_the_request(web: Web, chunk: bytes) -> None:
    broken = head("POST /size HTTP/1.1", "Transfer-Encoding: chunked") + chunk + b"\r\n0\r\n\r\n"
    assert statuses(web.raw(broken)) == [b"400"]


def test_a_client_that_leaves_in_mid_body_is_told_so(web: Web) -> None:
    with web.open(head("POST /size HTTP/1.1", "Content-Length: 100") + b"abc") as connection:
        connection.shutdown(socket.SHUT_WR)
        assert statuses(everything(connection)) == [b"400"]


def test_a_body_nobody_read_is_not_taken_for_a_request(web: Web) -> None:
    hidden = head("GET /hidden HTTP/1.1")
    length = f"Content-Length: {len(hidden)}"
    with web.open(head("POST /unread HTTP/1.1", length)) as connection:
        until(connection, b"no")
        connection.sendall(hidden + last(path="/after"))
        assert understood(everything(connection))["RAW_URI"] == "/after"


def test_a_body_without_end_that_nobody_reads_ends_the_connection(web: Web) -> None:
    endless = head("POST /unread HTTP/1.1", "Content-Length: 1000000000000")
    with web.open(endless) as connection:
        until(connection, b"no")
        assert eventually(lambda: is_refused(connection, b"z" * 65536))


# -- answers ---------------------------------------------------------------------------------------------


def test_a_connection_serves_one_request_after_the_other(web: Web) -> None:
    with web.open(head("GET /1 HTTP/1.1") + head("GET /2 HTTP/1.1") + b"GET /3 HT") as connection:
        first = until(connection, b'"/2"')
        assert first.index(b'"/1"') < first.index(b'"/2"')
        connection.sendall(b"TP/1.1\r\nHost: x\r\n\r\n")
        until(connection, b'"/3"')
        connection.sendall(last(path="/4"))
        answer = everything(connection)
        assert b"Connection: close" in answer
        assert understood(answer)["RAW_URI"] == "/4"


def test_an_old_client_gets_its_answer_and_the_end_of_the_connection(web: Web) -> None:
    answer = web.raw(b"GET /left HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert answer.partition(b"\r\n\r\n")[2] in (b"yes", b"no")
    assert b"chunked" not in answer


def test_an_answer_without_a_length_is_sent_as_it_is_made(web: Web) -> None:
    web.get("/hold")
    with web.open(last(path="/waits")) as connection:
        begun = until(connection, b"5\r\nfirst\r\n")
        web.get("/release")
        assert everything(connection) == b"4\r\nlast\r\n0\r\n\r\n"
    assert b"Transfer-Encoding: chunked" in begun


def test_answers_without_a_body_have_none(web: Web) -> None:
    both = web.raw(head("HEAD /echo HTTP/1.1") + last(path="/nothing"))
    lengths = re.findall(rb"Content-Length: (\d+)", both)
    assert statuses(both) == [b"200", b"204"]
    assert len(lengths) == 1
    assert int(lengths[0]) > 0
    assert both.endswith(b"\r\n\r\n")
    assert b"{" not in both
    assert b"chunked" not in web.raw(last(path="/left", method="HEAD"))


def test_an_application_that_fails_says_nothing_of_it_to_clients(web: Web) -> None:
    answer = web.raw(head("GET /raises HTTP/1.1"))
    assert statuses(answer) == [b"500"]
    assert b"secret" not in answer


@pytest.mark.parametrize("path", ["/breaks", "/short"])
def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one(web: Web, path: str) -> None:
    with pytest.raises(urllib3.exceptions.HTTPError):
        web.get(path)


def test_a_client_that_leaves_ends_the_answer(web: Web) -> None:
    web.get("/hold")
    with web.open(head("GET /endless HTTP/1.1")) as connection:
        until(connection, b"xxxx")
    assert eventually(lambda: web.get("/left").data == b"yes")


# -- silence ---------------------------------------------------------------------------------------------


def test_a_client_that_falls_silent_in_a_head_is_cut_off(web: Web) -> None:
    with web.open(b"GET /echo HTTP/1.1\r\nHo") as connection:
        assert everything(connection) == b""


def test_a_client_that_falls_silent_in_a_body_is_answered_and_cut_off(web: Web) -> None:
    with web.open(head("POST /size HTTP/1.1", "Content-Length: 100") + b"abc") as connection:
        assert statuses(everything(connection)) == [b"400"]


def test_a_client_that_reads_nothing_is_cut_off(web: Web) -> None:
    web.get("/hold")
    with web.open(head("GET /endless HTTP/1.1")):
        assert eventually(lambda: web.get("/left").data == b"yes")


def test_many_clients_that_keep_silent_hold_up_nobody(web: Web) -> None:
    with contextlib.ExitStack() as stack:
        for said in (b"", b"GET / HTTP/1.1\r\n", last(path="/left")) * 100:
            stack.enter_context(web.open(said))
        assert web.get("/echo").status == 200


# -- the process -----------------------------------------------------------------------------------------


def test_what_computes_apart_holds_up_nobody(web: Web) -> None:
    web.get("/hold")
    with web.open(last(path="/spins")) as connection:
        assert web.get("/release").status == 204
        assert b"spun" in everything(connection)


def test_a_worker_that_stops_finishes_what_is_asked_and_lets_the_idle_go(tmp_path: Path) -> None:
    with serving(tmp_path) as web, web.open() as asking, web.open(head()) as idle:
        until(idle, b"}")
        asking.sendall(head("POST /patient HTTP/1.1", "Content-Length: 5", "Expect: 100-continue"))
        until(asking, b"HTTP/1.1 100 Continue")
        os.kill(web.server.pid, SIGTERM)
        assert everything(idle) == b""
        asking.sendall(b"abcde")
        answer = everything(asking)
        assert b"Connection: close" in answer
        assert understood(answer)["body"] == "abcde"


def test_a_database_that_keeps_silent_is_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """psycopg2's connection, as far as it is asked: it waits to read from somebody who says nothing."""
    monkeypatch.setattr(greenlets, "DATABASE_TIMEOUT_SECONDS", 0.05)
    ours, theirs = socket.socketpair()
    connection: Any = SimpleNamespace(poll=lambda: POLL_READ, fileno=ours.fileno)
    with ours, theirs, pytest.raises(psycopg2.OperationalError, match="does not answer"):
        greenlets.wait_as_a_greenlet(connection)
