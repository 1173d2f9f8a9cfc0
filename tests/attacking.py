"""What the attack suite strikes with: raw bytes at a gateway, and doors that must stay shut."""

import contextlib
import socket
from dataclasses import dataclass

import urllib3
from doors import Call, require_problem, send

QUIET_SECONDS = 0.7
VERIFY = Call(service="gateway", method="POST", target="/api/v1/token/verify")


@dataclass(frozen=True, kw_only=True)
class Lane:
    """A gateway that moves bytes in one way: `plain` or `forward`."""

    name: str
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def ask(self, token: str, target: str, method: str = "GET", **headers: str) -> urllib3.BaseHTTPResponse:
        call = Call(service="gateway", method=method, target=target, headers=headers)
        return send(self.url, call, {"Authorization": f"Bearer {token}"})

    def verify(self, token: str) -> urllib3.BaseHTTPResponse:
        return send(self.url, VERIFY, {"Authorization": f"Bearer {token}"})

    def raw(self, content: bytes, *, seconds: float = 10) -> bytes:
        """Send bytes as they are and read until the gateway has no more to say."""
        return answer_of(self.port, content, seconds=seconds)


def answer_of(port: int, content: bytes, *, seconds: float = 10) -> bytes:
    """Send bytes to a port as they are and read until the other side has no more to say."""
    answer = b""
    with (
        contextlib.suppress(TimeoutError, ConnectionError),
        socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection,
    ):
        connection.sendall(content)
        while piece := connection.recv(65536):
            answer += piece
            connection.settimeout(QUIET_SECONDS)
    return answer


def require_invalid_token(answer: urllib3.BaseHTTPResponse) -> None:
    assert require_problem(answer, 401)["type"] == "/problems/invalid-token"
