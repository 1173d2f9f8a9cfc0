"""The usual answer is read by one expression; whatever is odd about it is left to llhttp."""

import pytest

from gateway.relay import answers

USUAL = (
    b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: application/json\r\nConnection: keep-alive\r\n"
    b"Content-Length: 2\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n{}"
)


def test_a_usual_answer_is_read_whole() -> None:
    head = answers.read(USUAL)
    assert head is not None
    assert (head.status, head.length_bytes, head.keeps_alive) == (200, 2, True)
    assert USUAL[head.ends_at :] == b"{}"
    assert head.lines == (
        b"Content-Type: application/json\r\nContent-Length: 2\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
    )


def test_an_answer_that_closes_says_so() -> None:
    head = answers.read(USUAL.replace(b"keep-alive", b"close"))
    assert head is not None
    assert not head.keeps_alive


@pytest.mark.parametrize(
    "data",
    [
        USUAL[:-3],
        USUAL.replace(b"200 OK", b"103 Early Hints"),
        USUAL.replace(b"200 OK", b"101 Switching Protocols"),
        USUAL.replace(b"200 OK", b"204 No Content"),
        USUAL.replace(b"200 OK", b"304 Not Modified"),
        USUAL.replace(b"HTTP/1.1", b"HTTP/1.0"),
        USUAL.replace(b"Content-Length: 2", b"X: 2"),
        USUAL.replace(b"Content-Length: 2", b"Content-Length: 2\r\nContent-Length: 3"),
        USUAL.replace(b"Content-Length: 2", b"Content-Length: +2"),
        USUAL.replace(b"Content-Length: 2", b"Content-Length: 2\r\nTransfer-Encoding: chunked"),
        USUAL.replace(b"Connection: keep-alive", b"Connection: X-Hop"),
        USUAL.replace(b"Server: x", b"Server : x"),
        USUAL.replace(b"Server: x", b"Server: x\r\n folded"),
        USUAL.replace(b"Server: x\r\n", b"Server: x\n"),
        USUAL.replace(b"Server: x", b"no colon"),
        USUAL.replace(b"Server: x", b"Server: a\x00b"),
    ],
)
def test_anything_odd_is_left_to_the_parser(data: bytes) -> None:
    assert answers.read(data) is None


def test_a_head_that_comes_again_is_known_and_its_body_is_its_own() -> None:
    heads = answers.Heads()
    first, second = heads.read(USUAL), heads.read(USUAL.replace(b"{}", b"[]"))
    assert first is second
    assert heads.read(USUAL.replace(b"a=1", b"a=2")) not in (None, first)
    heads.forget()
    assert heads.read(USUAL) == first
    assert heads.read(USUAL[:-6]) is None
