"""What this process counts, and the page that shows it. `/healthz` says that the process answers."""

import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, make_wsgi_app

RUNS = Counter("taxiway_executor_runs", "Runs taken, by how they ended", ("outcome",))
STEP_SECONDS = Histogram(
    "taxiway_executor_step_seconds",
    "Time of a step of a run, in seconds",
    ("step",),
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)
CHILD_CPU = Counter("taxiway_executor_child_cpu_seconds", "CPU time of children, in seconds")
BUSY = Gauge("taxiway_executor_busy", "1 while a run is at work")


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Keep scrapes out of the log."""


def serve(port: int, address: str = "127.0.0.1") -> WSGIServer:
    """Serve both pages from a thread of this process."""
    server = make_server(address, port, pages(), server_class=_Server, handler_class=_Quiet)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server


def pages() -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    """The WSGI application of the pages."""
    metrics = make_wsgi_app(REGISTRY)

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ.get("PATH_INFO") == "/healthz":
            start_response("200 OK", [("Content-Type", "application/json")])
            return [b'{"status":"ok"}']
        answer: Iterable[bytes] = metrics(environ, start_response)
        return answer

    return app
