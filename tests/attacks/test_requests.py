"""Requests that two readers might read differently, paths that lead astray, and sizes without an end."""

import contextlib
import re
import socket
import time
import uuid
from collections.abc import Iterator

import pytest
from attacking import Lane, answer_of
from driving import Client

from stack.testing import LocalStack

RUN_KEYS = "/internal/run-keys"
BAD = re.compile(rb"HTTP/1\.1 (400|408|413|414|431|501|505) ")
FRAMINGS = (
    "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 5",
    "Content-Length: 5\r\nContent-Length: 6",
    "Content-Length: 5\r\nContent-Length: 5\r\nContent-Length: 50",
    "Content-Length: 5, 6",
    "Content-Length: +5",
    "Content-Length: -5",
    "Content-Length: 0x5",
    "Content-Length: 5 5",
    "Content-Length: \uff15",
    "Content-Length : 5",
    "Content-Length\t: 5",
    " Content-Length: 5",
    "Content-Length\0: 5",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding: \x0bchunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding: chunk\r\n ed",
    "Transfer-Encoding:\r\n chunked",
    "X-Folded: a\r\n b\r\nContent-Length: 5",
    "X-Folded: a\r\n\tTransfer-Encoding: chunked",
    "X-Bare: a\nContent-Length: 5",
    "X-Bare: a\rTransfer-Encoding: chunked",
    "X-Nul: a\0\r\nContent-Length: 5",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked;q=1",
    'Transfer-Encoding: "chunked"',
    "Content-Length: 5\r\n\x00Transfer-Encoding: chunked",
    ": a\r\nContent-Length: 5",
    "Content Length: 5",
)
# What is a framing of its own to some readers, and none to others: allowed, if only one request comes of it.
ODDITIES = (
    "Content-Length: {size}\r\nContent_Length: 5",
    "Transfer-Encoding: identity, chunked",
    "Transfer_Encoding: chunked\r\nContent-Length: {size}",
    "TRANSFER-ENCODING: CHUNKED",
    "Connection: Content-Length\r\nContent-Length: {size}",
    "Connection: Transfer-Encoding\r\nContent-Length: {size}",
    "Transfer-Encoding: chunked\r\nTrailer: X-Auth-Roles",
    "Transfer-Encoding: chunked\r\nTE: trailers",
    "Expect: 100-continue\r\nContent-Length: {size}",
    "Connection: close, X-Auth-Kind\r\nContent-Length: {size}",
    "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA\r\nContent-Length: {size}",
)
CHUNKS = (
    b"0x5\r\nabcde",
    b"5 \r\nabcde",
    b"+5\r\nabcde",
    b"-1\r\nabcde",
    b"5\nabcde",
    b"5\r\nabcdefgh",
    b"5\r\nabc",
    b"5\rabcde",
    b"FFFFFFFFFFFFFFFF5\r\nabcde",
    b"\r\nabcde",
    b"5;a\nb\r\nabcde",
    b"5_0\r\nabcde",
    b";\r\nabcde",
)
ASTRAY = (
    RUN_KEYS,
    f"/{RUN_KEYS}",
    f"/.{RUN_KEYS}",
    f"//x{RUN_KEYS}",
    f"/api/..{RUN_KEYS}",
    "/%69nternal/run-keys",
    f"/api/v1/jobs/../../..{RUN_KEYS}",
    f"/api/v1/jobs/%2e%2e/%2e%2e/%2E%2E{RUN_KEYS}",
    "/internal%2frun-keys",
    f"/api/v1/jobs/.%2e/.%2e/.%2e{RUN_KEYS}",
    "/api/v1/jobs/..%2f..%2f..%2finternal%2frun-keys",
    f"/api/v1/jobs/..;/..;/..;{RUN_KEYS}",
    f"/api/v1/jobs;/../../..{RUN_KEYS}",
    f"/api/v1/jobs/{RUN_KEYS}",
    "/api/v1/jobs/..%5c..%5c..%5cinternal%5crun-keys",
    r"/api/v1/jobs\..\..\..\internal\run-keys",
    r"\internal\run-keys",
    f"/api/v1/jobs/%252e%252e/%252e%252e/%252e%252e{RUN_KEYS}",
    f"/api/v1/jobs/%c0%ae%c0%ae{RUN_KEYS}",
    f"/api/v1/jobs%00{RUN_KEYS}",
    f"/api/v1/jobs%0d%0aX:%20{RUN_KEYS}",
    f"/api/v1/jobs#/..{RUN_KEYS}",
    f"/api/v1/jobs/%u002e%u002e{RUN_KEYS}",
    f"/api/v1/jobs/..%ff{RUN_KEYS}",
    "internal/run-keys",
    "*",
    f"http://127.0.0.1{RUN_KEYS}",
    f"http://127.0.0.1/api/v1/jobs/../../..{RUN_KEYS}",
    f"https://jobs{RUN_KEYS}",
    f"//127.0.0.1{RUN_KEYS}",
    f"/@127.0.0.1{RUN_KEYS}",
    f"file://{RUN_KEYS}",
    "/INTERNAL/run-keys",
    "/Internal/run-keys",
    "/sdk/v1/runs/x/output-sets/../../../../../internal/school-years",
    "/sdk/v1/runs/..%2f..%2finternal/payload",
    "/realms/example/../../internal/run-keys",
    "/auth/realms/..%2f..%2finternal/run-keys",
    "/api/assets/../openapi.json",
    "/api/assets/..%2f..%2fconfig.py",
    "/api/assets/%2e%2e",
    "/api/assets/....//....//config.py",
    "/metrics",
)


@pytest.fixture
def mark(system: LocalStack) -> Iterator[str]:
    """A job's uid that must not be asked for: whether a service heard of it stands in its log."""
    uid = str(uuid.uuid4())
    yield uid
    for name in ("jobs", "outputs"):
        assert uid not in system.log(name, lines=1000)


def smuggled(token: str, mark: str) -> bytes:
    """A request that a reader who stops too early takes for the next one."""
    lines = f"GET /api/v1/jobs/{mark} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    return lines.encode() + b"Content-Length: 0\r\n\r\n"


def head(token: str, framing: str = "", *, method: str = "POST", target: str = "/api/v1/jobs") -> bytes:
    line = f"{method} {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    return f"{line}{framing}\r\n\r\n".encode() if framing else f"{line}\r\n".encode()


def require_answers_in_order(lane: Lane, ea: Client, acme: Client) -> None:
    """Fail if a connection to a service holds somebody else's answer."""
    for client in (ea, acme) * 4:
        answer = lane.ask(client.token, f"/api/v1/partners/{client.partner}")
        assert (answer.status, answer.json()["code"]) == (200, client.partner)


@pytest.mark.parametrize("framing", FRAMINGS, ids=repr)
def test_a_request_whose_end_can_be_disputed_is_refused_as_a_whole(
    lane: Lane, ea: Client, mark: str, framing: str
) -> None:
    hidden = smuggled(ea.token, mark)
    for body in (b"0\r\n\r\n" + hidden, b"5\r\nabcde\r\n0\r\n\r\n" + hidden, b"abcde" + hidden):
        answer = lane.raw(head(ea.token, framing) + body)
        assert BAD.match(answer), answer
        assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("framing", ODDITIES, ids=repr)
def test_a_request_is_one_request_however_its_head_reads(
    lane: Lane, ea: Client, acme: Client, mark: str, framing: str
) -> None:
    hidden = smuggled(ea.token, mark)
    chunked = "chunked" in framing.lower() and "{size}" not in framing
    body = (
        b"%x\r\n%b\r\n0\r\nX-Auth-Roles: Administrator\r\n\r\n" % (len(hidden), hidden) if chunked else hidden
    )
    closed = head(ea.token, f"{framing.format(size=len(body))}\r\nConnection: close")
    answer = lane.raw(closed + body)
    answers = re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)
    assert answers[-1] == b"400", answer
    assert [each for each in answers if each != b"100"] == [b"400"]
    require_answers_in_order(lane, ea, acme)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_chunk_of_a_disputable_size_breaks_the_request(
    lane: Lane, ea: Client, mark: str, chunk: bytes
) -> None:
    body = chunk + b"\r\n0\r\n\r\n" + smuggled(ea.token, mark)
    answer = lane.raw(head(ea.token, "Transfer-Encoding: chunked") + body)
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_body_nobody_read_is_not_taken_for_a_request(
    lane: Lane, ea: Client, acme: Client, mark: str
) -> None:
    """Refused before their bodies are read: no token, no such route, too large."""
    hidden = smuggled(ea.token, mark)
    for token, target, length in (
        *(("x", "/api/v1/jobs", len(hidden)), (ea.token, "/nowhere", len(hidden))),
        *((ea.token, "/api/v1/jobs", 10**9), (ea.token, RUN_KEYS, len(hidden))),
    ):
        lane.raw(head(token, f"Content-Length: {length}", target=target) + hidden, seconds=2)
    require_answers_in_order(lane, ea, acme)


def test_a_service_frames_as_strictly_as_the_gateway(system: LocalStack, ea: Client, mark: str) -> None:
    hidden = smuggled(ea.token, mark)
    for name in ("jobs", "outputs", "issuer"):
        for framing in FRAMINGS[:4]:
            answer = answer_of(system.port(name), head("x", framing) + b"0\r\n\r\n" + hidden)
            assert BAD.match(answer), answer


@pytest.mark.parametrize("target", ASTRAY)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_no_path_leads_to_internal_or_out_of_its_route(
    lane: Lane, ea: Client, administrator: Client, target: str, method: str
) -> None:
    for token in (ea.token, administrator.token):
        request = head(token, "Content-Length: 0\r\nConnection: close", method=method, target=target)
        answer = lane.raw(request)
        assert re.match(rb"HTTP/1\.1 (400|404|405) ", answer), answer
        assert b'"keys"' not in answer


@pytest.mark.parametrize(
    "method", ["CONNECT", "TRACE", "TRACK", "PROPFIND", "get", "PRI", "GET,POST", "OPTIONS", "DEBUG", "PURGE"]
)
def test_no_other_method_reaches_a_service(lane: Lane, ea: Client, mark: str, method: str) -> None:
    for target in (f"/api/v1/jobs/{mark}", "127.0.0.1:80"):
        answer = lane.raw(head(ea.token, "Connection: close", method=method, target=target))
        assert not answer.startswith(b"HTTP/1.1 2"), answer


def test_a_method_is_not_overridden(lane: Lane, ea: Client) -> None:
    job = ea.create("tests/echo", {"INPUT_FILE": "input.csv"})
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method"):
        answer = lane.ask(ea.token, f"/api/v1/jobs/{job['uid']}?_method=DELETE", **{name: "DELETE"})
        assert answer.status == 200


@pytest.mark.parametrize(
    "more",
    [
        "X-Long: " + "v" * 40_000,
        "\r\n".join(f"X-{number}: v" for number in range(500)),
        "Cookie: " + "a=b; " * 9000,
    ],
    ids=["long", "many", "cookies"],
)
def test_a_head_without_bounds_is_refused(lane: Lane, ea: Client, more: str) -> None:
    assert BAD.match(lane.raw(head(ea.token, more, method="GET")))


def test_a_target_without_bounds_is_refused(lane: Lane, ea: Client) -> None:
    assert BAD.match(lane.raw(head(ea.token, method="GET", target="/api/v1/jobs?q=" + "a" * 20_000)))


@pytest.mark.parametrize("service", ["jobs", "issuer"])
def test_a_body_without_bounds_is_refused(lane: Lane, ea: Client, service: str) -> None:
    target = {"jobs": "/api/v1/jobs", "issuer": "/oauth/token"}[service]
    announced = head(ea.token, f"Content-Length: {10**12}\r\nConnection: close", target=target)
    assert lane.raw(announced).startswith(b"HTTP/1.1 413 ")
    piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
    endless = head(ea.token, "Transfer-Encoding: chunked\r\nConnection: close", target=target) + piece * 64
    answer = lane.raw(endless)
    assert not answer or answer.startswith(b"HTTP/1.1 413 "), answer


def test_slow_bodies_end_and_hold_up_nobody(lane: Lane, ea: Client) -> None:
    """More of them than the plain lane has threads."""
    with crowd(lane, head(ea.token, "Content-Length: 1000") + b"{", 24) as slow:
        assert lane.ask(ea.token, "/api/v1/partners/ea").status == 200
        assert all(BAD.match(connection.recv(65536)) for connection in slow)


@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"])
def test_clients_that_say_nothing_or_never_close_hold_up_nobody(lane: Lane, ea: Client, said: bytes) -> None:
    began = time.monotonic()
    with crowd(lane, said, 100):
        for _ in range(3):
            assert lane.ask(ea.token, "/api/v1/partners/ea").status == 200
    assert time.monotonic() - began < 10


@contextlib.contextmanager
def crowd(lane: Lane, said: bytes, size: int) -> Iterator[list[socket.socket]]:
    """Open connections that say the same and stay."""
    with contextlib.ExitStack() as stack:
        address = ("127.0.0.1", lane.port)
        connections = [stack.enter_context(socket.create_connection(address, 15)) for _ in range(size)]
        for connection in connections:
            connection.sendall(said)
        yield connections
