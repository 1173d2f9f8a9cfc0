"""The guard of outbound calls: which addresses are reached, whatever a name resolves to, and for how long."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from jobs.deliveries.outbound import GuardedHttp, OutboundFailed, OutboundRefused

INNER = [
    *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
    *("100.64.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1"),
    *("ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1"),
    *("2002:7f00:1::", "2001:0:7f00:1::", "::127.0.0.1", "fec0::1"),
]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def guard(*allowed: str, found: Sequence[str], seconds: float = 5) -> GuardedHttp:
    return GuardedHttp(allowed, "SOME_HOSTS", seconds=seconds, resolve=lambda *_: found)


@pytest.fixture
def server() -> Iterator[Callable[..., int]]:
    """A server that answers one connection by what a function does with it."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(answer: Callable[[socket.socket], None]) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(10)

        def work() -> None:
            try:
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(10)
                    answer(connection)
            except OSError:
                return

        listeners.append(listener)
        threads.append(threading.Thread(target=work))
        threads[-1].start()
        return int(listener.getsockname()[1])

    yield serve
    for listener in listeners:
        listener.close()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("address", INNER)
def test_an_inner_address_is_refused(address: str) -> None:
    with pytest.raises(OutboundRefused, match="SOME_HOSTS"):
        guard(found=[address]).send("GET", "http://ods.example")


def test_one_inner_address_among_public_ones_is_refused() -> None:
    with pytest.raises(OutboundRefused):
        guard(found=["93.184.216.34", "127.0.0.1"]).send("GET", "http://ods.example")


@pytest.mark.parametrize("host", ["2130706433", "0177.0.0.1", "0x7f.1", "127.1", "0", "[::ffff:127.0.0.1]"])
def test_no_spelling_of_an_inner_address_passes(host: str) -> None:
    with pytest.raises(OutboundRefused, match="SOME_HOSTS"):
        GuardedHttp((), "SOME_HOSTS", seconds=5).send("GET", f"http://{host}/")


@pytest.mark.parametrize(
    "url",
    [
        *("http://good.example@127.0.0.1/", "http://u:p@good.example/", "http://127.0.0.1\\@good.example/"),
        *("http://good.example:99999/", "http://good.example:x/", "http://good.example:0/", "http://[::1/"),
        *("ftp://good.example/", "file:///etc/passwd", "http:///", "good.example"),
    ],
)
def test_what_is_no_plain_url_is_refused_before_any_name_is_asked_for(url: str) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["93.184.216.34"]

    with pytest.raises(OutboundRefused, match="URL"):
        GuardedHttp((), "SOME_HOSTS", seconds=5, resolve=resolve).send("GET", url)
    assert asked == []


def test_a_name_is_resolved_once_and_the_checked_address_called(server: Any) -> None:
    """A name that changes its address between check and call gains nothing."""
    port = server(lambda connection: (connection.recv(9999), connection.sendall(OK)))
    answers = iter([["127.0.0.1"], ["93.184.216.34"]])
    http = GuardedHttp(("127.0.0.1",), "SOME_HOSTS", seconds=5, resolve=lambda *_: next(answers))
    assert http.send("GET", f"http://ods.example:{port}/").body == b"ok"


def test_the_port_and_the_host_of_the_url_are_asked_for(server: Any) -> None:
    heard: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        heard.append(connection.recv(9999))
        connection.sendall(OK)

    port = server(answer)
    http = guard("127.0.0.1", found=["127.0.0.1"])
    assert http.tell(f"http://ods.example:{port}/a?b=c", headers={"X-Y": "z"}, body="{}") == 200
    assert heard[0].startswith(b"POST /a?b=c HTTP/1.1\r\n")
    assert f"Host: ods.example:{port}\r\n".encode() in heard[0]


def test_a_redirect_is_an_answer_and_not_followed(server: Any) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
    port = server(lambda connection: (connection.recv(9999), connection.sendall(moved)))
    assert guard("127.0.0.1", found=["127.0.0.1"]).send("GET", f"http://a.example:{port}").status == 302


@pytest.mark.parametrize("allowed", ["127.0.0.1", "127.0.0.0/8", "ods.example", "ODS.example"])
def test_what_the_operator_allows_is_reached(allowed: str) -> None:
    with pytest.raises(OutboundFailed, match="cannot be reached"):
        guard(allowed, found=["127.0.0.1"]).send("GET", "http://ods.example:9")


@pytest.mark.parametrize("allowed", ["10.0.0.0/8", "example", "other.example"])
def test_what_is_allowed_allows_nothing_else(allowed: str) -> None:
    with pytest.raises(OutboundRefused):
        guard(allowed, found=["127.0.0.1"]).send("GET", "http://ods.example")


def test_a_name_nobody_knows_is_said_to_be_unknown() -> None:
    def unknown(host: str, port: int) -> Sequence[str]:
        raise OSError

    with pytest.raises(OutboundFailed, match=r"the name ods\.example is not known"):
        GuardedHttp((), "SOME_HOSTS", seconds=5, resolve=unknown).send("GET", "http://ods.example")


def drip(prefix: bytes) -> Callable[[socket.socket], None]:
    """Answer a byte now and then, without an end."""

    def answer(connection: socket.socket) -> None:
        connection.recv(9999)
        connection.sendall(prefix)
        while True:
            connection.sendall(b"x")
            threading.Event().wait(0.05)

    return answer


@pytest.mark.parametrize("prefix", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_that_drips_is_cut(server: Any, prefix: bytes) -> None:
    http, began = guard("127.0.0.1", found=["127.0.0.1"], seconds=0.5), time.monotonic()
    with pytest.raises(OutboundFailed, match="did not answer in time"):
        http.send("GET", f"http://a.example:{server(drip(prefix))}")
    assert time.monotonic() - began < 10


def test_of_an_answer_without_end_the_status_is_enough_to_tell(server: Any) -> None:
    port = server(drip(b"HTTP/1.1 204 No Content\r\n\r\n"))
    assert (
        guard("127.0.0.1", found=["127.0.0.1"]).tell(f"http://a.example:{port}", headers={}, body="") == 204
    )


def test_what_does_not_speak_http_is_said_to_be_so(server: Any) -> None:
    port = server(lambda connection: (connection.recv(9999), connection.sendall(b"220 mail\r\n")))
    with pytest.raises(OutboundFailed, match="does not speak HTTP"):
        guard("127.0.0.1", found=["127.0.0.1"]).send("GET", f"http://a.example:{port}")


def test_a_certificate_nobody_vouches_for_is_not_accepted(server: Any, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(tmp_path))

    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True):
            return

    with pytest.raises(OutboundFailed, match="certificate is not accepted"):
        guard("127.0.0.1", found=["127.0.0.1"]).send("GET", f"https://a.example:{server(answer)}")


def _certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a.example")]), datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(encoding, form, serialization.NoEncryption())
        + builder.sign(key, hashes.SHA256()).public_bytes(encoding)
    )
    return path
