"""Gunicorn's configuration for every web service: `gunicorn -c python:common.serving "jobs.wsgi:build()"`.

The only module besides a service's config.py that reads the environment, because gunicorn reads it first.
"""

import os
import socket
import struct
import tempfile
from typing import Any

os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="taxiway-metrics-"))

bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ['PORT']}"
worker_class = os.environ.get("WEB_WORKER_CLASS", "common.threads.Worker")
workers = int(os.environ.get("WEB_WORKERS", "2"))
threads = int(os.environ.get("WEB_THREADS", "16"))
worker_connections = int(os.environ.get("WEB_CONNECTIONS", "1000"))  # gevent's; gthread has its threads
timeout = 60
graceful_timeout = 20
# Under gevent each connection carries one live stream; an idle one would only delay the end of the process.
keepalive = 0 if worker_class == "gevent" else 75
limit_request_line = 8190
limit_request_fields = 100
limit_request_field_size = 16380
forwarded_allow_ips = ""
accesslog = None
errorlog = "-"
control_socket_disable = True


SILENCE_SECONDS = 15


def when_ready(server: Any) -> None:
    """Cut off clients that go silent in mid-request, and serve the workers' metrics from the parent process.

    gunicorn itself waits for the rest of a head for ever; accepted sockets inherit the listener's limit.
    """
    from common import metrics

    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", SILENCE_SECONDS, 0))
    if port := os.environ.get("METRICS_PORT"):
        metrics.serve(int(port))


def child_exit(server: Any, worker: Any) -> None:
    """Take a dead worker's live gauges out of the sum."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
