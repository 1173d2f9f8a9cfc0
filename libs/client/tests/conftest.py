"""A small HTTP server that answers as it is told: an issuer, a gateway and object storage at one address."""

import json
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

PORTS = range(27300, 27400)  # below the ports that client sockets are given


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer. `takes` is how many bytes of the request are read before the connection is cut."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    takes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A request that came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Server:
    """Gives each address its replies in order; the last one stays."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.replies: dict[tuple[str, str], list[Reply]] = defaultdict(list)
        self._http = _listen(self)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def on(self, request: str, *documents: Any, status: int = 200, **more: Any) -> None:
        """Answer `GET /path` with each of the JSON documents in turn."""
        for document in documents or ({},):
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.reply(request, status=status, body=body, **more)

    def reply(self, request: str, **members: Any) -> None:
        """Answer `GET /path` with one reply after those it has already."""
        method, path = request.split(" ")
        self.replies[method, path].append(Reply(**members))

    def issue_tokens(self, *, seconds: float = 3600, **configuration: Any) -> None:
        """Be an issuer that numbers its tokens."""
        document = {"issuer": self.url, "token_endpoint": f"{self.url}/token", **configuration}
        self.on("GET /.well-known/openid-configuration", document)
        tokens = [{"access_token": f"token-{number}", "expires_in": seconds} for number in range(1, 9)]
        self.on("POST /token", *tokens)

    def requests(self, request: str) -> list[Seen]:
        """List what came for `GET /path`."""
        method, path = request.split(" ")
        return [each for each in self.seen if each.method == method and urlsplit(each.target).path == path]

    def next_reply(self, method: str, target: str) -> Reply:
        found = self.replies[method, urlsplit(target).path]
        if not found:
            return Reply(status=404, body=b'{"detail": "nothing is told for this address"}')
        return found.pop(0) if len(found) > 1 else found[0]

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join(timeout=5)
        self._http.server_close()


def _listen(server: Server) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 5
        wbufsize = 65536  # head and body leave together

        def answer(self) -> None:
            reply = server.next_reply(self.command, self.path)
            size = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(size if reply.takes is None else min(size, reply.takes))
            headers = {name.lower(): value for name, value in self.headers.items()}
            server.seen.append(Seen(method=self.command, target=self.path, headers=headers, body=body))
            if reply.takes is not None:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)
            # A reply that promises more than it has ends with the connection.
            self.close_connection = "Content-Length" in reply.headers

        do_GET = do_POST = do_PUT = answer

        def log_message(self, format: str, *words: Any) -> None:
            """Say nothing."""

    for port in PORTS:
        try:
            return ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except OSError:
            continue
    raise OSError("no port is free")


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()
