"""What only the forward lane promises: streams without threads, reloads nobody notices, safe repeats."""

import json
import os
import signal
import socket
import threading
import time
from typing import Any

import pytest
import urllib3

FORWARD = "gateway.relay.worker.RelayWorker"
pytestmark = pytest.mark.parametrize("lane", [FORWARD], indirect=True)


def test_streams_hold_no_threads_and_no_other_request_up(wire: Any) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()

    def page(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"5\r\nfirst\r\n")
        begun.release()
        go_on.wait(30)
        handler.wfile.write(b"4\r\nlast\r\n0\r\n\r\n")

    wire.upstream.pages["/api/v1/jobs/stream"] = page
    streams = [wire.ask("GET", "/api/v1/jobs/stream", preload_content=False) for _ in range(60)]
    assert all(begun.acquire(timeout=10) for _ in streams)
    assert wire.ask("GET", "/api/v1/jobs").status == 200
    go_on.set()
    assert {stream.read() for stream in streams} == {b"firstlast"}


def test_a_used_connection_that_was_dropped_is_replaced_for_what_may_be_repeated(wire: Any) -> None:
    asked = []

    def page(handler: Any) -> None:
        asked.append(1)
        if len(asked) == 1:
            handler.close_connection = True
            return
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain")

    wire.upstream.pages["/api/v1/jobs/drops"] = page
    assert wire.ask("GET", "/api/v1/jobs").status == 200
    assert wire.ask("GET", "/api/v1/jobs/drops").data == b"again"
    assert len(asked) == 2


def test_a_connection_behind_a_slow_reader_serves_the_next_one(wire: Any) -> None:
    wire.upstream.pages["/api/v1/jobs/much"] = (200, {}, b"x" * 8 * 1024 * 1024)
    for _ in range(3):
        with wire.ask("GET", "/api/v1/jobs/much", preload_content=False) as answer:
            pieces = iter(lambda: answer.read(64 * 1024), b"")
            assert sum(map(len, pieces)) == 8 * 1024 * 1024
        assert wire.ask("GET", "/api/v1/jobs").status == 200


def test_a_head_that_drips_is_cut_off(wire: Any) -> None:
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", wire.gateway.port), timeout=10) as connection:
        connection.sendall(b"GET /api/v1/jobs HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        connection.settimeout(0.2)
        is_open = True
        while is_open and time.monotonic() - began < 15:
            try:
                connection.sendall(b"x")
                is_open = connection.recv(1024) != b""
            except TimeoutError:
                continue
            except OSError:
                is_open = False
    assert not is_open


def test_answers_are_counted_and_logged_as_in_the_other_lane(wire: Any) -> None:
    answer = wire.ask("GET", "/api/v1/jobs/counted", headers={"X-Request-Id": "find-me"})
    assert answer.headers["X-Request-Id"] == "find-me"
    deadline, line, counted = time.monotonic() + 10, "", ""
    while time.monotonic() < deadline and not (line and counted):
        lines = wire.gateway.log.read_text().splitlines()
        line = next((each for each in lines if '"find-me"' in each), "")
        page = urllib3.request("GET", wire.metrics_url).data.decode()
        wanted = 'taxiway_http_requests_total{method="GET",route="/api/v1/jobs/**"'
        counted = next((each for each in page.splitlines() if each.startswith(wanted)), "")
        time.sleep(0.1)
    logged = json.loads(line)
    assert {name: logged[name] for name in ("event", "level", "service", "method", "path", "status")} == {
        "event": "request", "level": "info", "service": "gateway",
        "method": "GET", "path": "/api/v1/jobs/counted", "status": 200,
    }  # fmt: skip
    assert (logged["route"], logged["client"]) == ("/api/v1/jobs/**", "c")
    assert 'service="gateway",status="200"' in counted
    assert "taxiway_http_request_seconds_bucket" in page


class Load:
    """Clients that ask without a pause, each on its own connection, and note what went wrong."""

    def __init__(self, wire: Any, clients: int) -> None:
        self._wire = wire
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]
        self.answered = 0
        self.failures: list[Any] = []

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with urllib3.PoolManager(maxsize=1) as http:
            while not self._stop.is_set():
                self._ask_once(http)

    def _ask_once(self, http: urllib3.PoolManager) -> None:
        headers = {"Authorization": f"Bearer {self._wire.token}"}
        url = f"{self._wire.gateway.url}/api/v1/jobs"
        try:
            status = http.request("POST", url, headers=headers, body=b"{}", retries=False).status
        except urllib3.exceptions.HTTPError as error:
            self.failures.append(error)
        else:
            self.answered += 1
            self.failures += [] if status == 200 else [status]


def test_a_reload_under_load_fails_no_request(wire: Any) -> None:
    before = _workers(wire.gateway.pid)
    with Load(wire, clients=4) as load:
        os.kill(wire.gateway.pid, signal.SIGHUP)
        _await(lambda: not before & _workers(wire.gateway.pid))
        reached = load.answered
        _await(lambda: load.answered > reached + 20)
    assert load.failures == []


def _await(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _workers(pid: int) -> set[str]:
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return set(children.read().split())
