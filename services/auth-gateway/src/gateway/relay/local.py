"""The app lane: the gateway's own resources are a Flask application, served in threads."""

import io
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from common.logs import get_logger
from gateway import headers as relayed
from gateway import problems
from gateway.lane import PRINCIPAL
from gateway.relay.writing import problem

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from gateway.relay.exchange import Exchange

Served = tuple[int, bytes, bytes]


class LocalApp:
    """Calls a WSGI application with whole bodies (PEP 3333)."""

    def __init__(self, app: "WSGIApplication", *, threads: int) -> None:
        self._app = app
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="app")

    def serve(self, exchange: "Exchange", body: bytes) -> "Future[Served]":
        """Serve a request in a thread: status, lines of the head, body."""
        return self._threads.submit(self._serve, environ(exchange, body))

    def close(self) -> None:
        self._threads.shutdown(wait=False)

    def _serve(self, environment: dict[str, Any]) -> Served:
        begun: list[tuple[int, bytes]] = []

        def start_response(status: str, headers: list[tuple[str, str]], error: Any = None) -> Any:
            begun[:] = [(int(status.split(" ", 1)[0]), relayed.wire(tuple(relayed.to_client(headers))))]
            return _write

        try:
            answer = self._app(environment, start_response)
            body = b"".join(answer)
            getattr(answer, "close", lambda: None)()
        except Exception as error:  # the edge of the lane
            get_logger().error("unexpected_error", exc_info=error, path=environment["PATH_INFO"])
            return _broken(environment)
        return (*begun[0], body)


def _write(data: bytes) -> None:
    raise RuntimeError("the views of the gateway return their bodies")  # PEP 3333 has an older way


def _broken(environment: dict[str, Any]) -> Served:
    refusal = problems.internal_error()
    body = problem(refusal, environment["HTTP_X_REQUEST_ID"], b"", closes=False, is_head=False)
    return 500, b"", body


def environ(exchange: "Exchange", body: bytes) -> dict[str, Any]:
    """Write the environment of one request."""
    request = exchange.request
    path, _, query = request.target.partition("?")
    environment = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "RAW_URI": request.target,
        "SERVER_NAME": "gateway",
        "SERVER_PORT": "0",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "REMOTE_ADDR": exchange.address,
        PRINCIPAL: exchange.caller,
    }
    for name, value in request.block.values.items():
        environment["HTTP_" + name.upper().replace("-", "_")] = value
    environment["HTTP_X_REQUEST_ID"] = exchange.request_id
    environment.pop("HTTP_TRANSFER_ENCODING", None)
    environment["CONTENT_TYPE"] = environment.pop("HTTP_CONTENT_TYPE", "")
    environment.pop("HTTP_CONTENT_LENGTH", None)
    environment["CONTENT_LENGTH"] = str(len(body)) if request.has_body else ""
    return environment
