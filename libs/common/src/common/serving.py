"""Gunicorn's configuration for every web service: `gunicorn -c python:common.serving "jobs.wsgi:build()"`.

The only module besides a service's config.py that reads the environment, because gunicorn reads it first.
"""

import os
import tempfile
from typing import Any

os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="taxiway-metrics-"))

bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ['PORT']}"
worker_class = os.environ.get("WEB_WORKER_CLASS", "common.greenlets.Worker")
workers = int(os.environ.get("WEB_WORKERS", "2"))
threads = int(os.environ.get("WEB_THREADS", "16"))
worker_connections = int(os.environ.get("WEB_CONNECTIONS", "1000"))
timeout = 60
graceful_timeout = 20
accesslog = None
errorlog = "-"
control_socket_disable = True


def when_ready(server: Any) -> None:
    """Serve the workers' metrics from the parent process."""
    from common import metrics

    if port := os.environ.get("METRICS_PORT"):
        metrics.serve(int(port))


def child_exit(server: Any, worker: Any) -> None:
    """Take a dead worker's live gauges out of the sum."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
