"""A head met before means what the strict reader made of it, or it is not recognized."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.relay.known import KnownHeads
from gateway.relay.reading import Request, RequestReader

HEAD = b"GET /a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n\r\n"


class Heard:
    """A sink that keeps what it hears."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.body = b""
        self.ended = 0

    def request_began(self, request: Request) -> None:
        self.requests.append(request)

    def body_came(self, piece: bytes) -> None:
        self.body += piece

    def request_ended(self) -> None:
        self.ended += 1


def read(data: bytes) -> tuple[Heard, RequestReader]:
    heard = Heard()
    reader = RequestReader(heard)
    reader.feed(data)
    return heard, reader


def meaning(request: Request) -> Any:
    values = dict(request.block.values)
    return request.method, request.target, values, request.length_bytes, request.keeps_alive


def met(head: bytes = HEAD) -> KnownHeads:
    known = KnownHeads()
    for request in read(head)[0].requests:
        known.remember(head, request)
    return known


def test_the_same_headers_on_another_target_are_recognized() -> None:
    other = HEAD.replace(b"GET /a", b"DELETE /b?c=d")
    recognized = met().recognize(other)
    assert recognized is not None
    assert meaning(recognized[0]) == meaning(read(other)[0].requests[0])
    assert recognized[1] == b""


def test_the_same_headers_before_another_body_are_recognized() -> None:
    head = HEAD.replace(b"GET", b"POST").replace(b"Host", b"Content-Length: 2\r\nHost")
    known = met(head + b"{}")
    assert known.recognize(head + b"[]") == (known.recognize(head + b"{}")[0], b"[]")  # type: ignore[index]
    for body in (b"", b"{", b"{}x", b"{}" + head):
        assert known.recognize(head + body) is None


@pytest.mark.parametrize(
    "data",
    [
        HEAD + HEAD,
        HEAD[:-2],
        HEAD + b"x",
        b"\r\n" + HEAD,
        HEAD.replace(b"GET", b"TRACE"),
        HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"),
        HEAD.replace(b"/a", b"/a b"),
        HEAD.replace(b"/a", b"/\xc3\xa4"),
        HEAD.replace(b"/a", b"*"),
        HEAD.replace(b"/a", b"http://x/a"),
        HEAD.replace(b"Bearer t", b"Bearer u"),
        HEAD.replace(b"\r\nHost", b"\nHost"),
    ],
)
def test_anything_else_is_left_to_the_reader(data: bytes) -> None:
    assert met().recognize(data) is None


@pytest.mark.parametrize(
    "line",
    [
        b"Content-Length: 2",
        b"Idempotency-Key: 1",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
        b"X-Request-Id: 1",
        b"traceparent: 00-1",
    ],
)
def test_heads_whose_body_is_missing_or_that_end_or_have_an_id_are_not_kept(line: bytes) -> None:
    head = HEAD.replace(b"Host: x\r\n", b"Host: x\r\n" + line + b"\r\n")
    assert met(head).recognize(head) is None


_pieces = st.sampled_from(
    [b"GET ", b"POST ", b"/a", b"/b?c", b" HTTP/1.1", b"\r\n", b"\n", b"Host: x", b"X: y", b": ", b" ",
     b"\x00", b"Content-Length: 1", b"Content-Length: 0", b"z",
     b"Transfer-Encoding: chunked", b"\r\n\r\n", HEAD]
)  # fmt: skip


@given(st.lists(_pieces, max_size=12).map(b"".join), st.lists(_pieces, max_size=12).map(b"".join))
def test_whatever_is_recognized_is_what_the_reader_would_have_read(first: bytes, second: bytes) -> None:
    known = met()
    for request in read(first)[0].requests[:1]:
        known.remember(first, request)
    for data in (first, second):
        recognized = known.recognize(data)
        if recognized is not None:
            heard, reader = read(data)
            assert reader.fault is None
            assert [meaning(each) for each in heard.requests] == [meaning(recognized[0])]
            assert heard.body == recognized[1]
            assert heard.ended == 1
