"""The executor's door: `python -m executor`."""

import os
import re
import signal
import socket
import sys
import threading
from types import FrameType

import redis
import urllib3

from common import logs
from common.settings import SettingsError, load
from executor import metrics
from executor.config import Settings
from executor.forge import Forge
from executor.runs import Runner
from executor.turns import POP_SECONDS, Line, serve

_CONNECTIONS = 8


def main() -> int:
    """Serve one pool's line until SIGTERM; one run at a time."""
    try:
        settings = load(Settings, os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - logging is not set up yet
        return 2
    os.umask(0o077)  # inputs and outputs are people's data
    logs.configure("executor", settings.log_level)
    name = re.sub(r"[^\w.-]", "-", settings.name or f"{socket.gethostname()}-{os.getpid()}")
    stopping = _stop_on_signals()
    forge = Forge()
    http = urllib3.PoolManager(num_pools=_CONNECTIONS, maxsize=_CONNECTIONS, retries=False)
    runner = Runner(settings=settings, name=name, http=http, forge=forge, stopping=stopping)
    runner.sweep()
    if settings.metrics_port:
        metrics.serve(settings.metrics_port)
    forge.warm()
    logs.get_logger().info("executor_started", name=name, pool=settings.pool)
    try:
        serve(Line(_redis(settings), pool=settings.pool, name=name), runner.take, stopping)
    finally:
        forge.close()
    logs.get_logger().info("executor_stopped", name=name)
    return 0


def _stop_on_signals() -> threading.Event:
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)
    return stopping


def _redis(settings: Settings) -> "redis.Redis":
    patience = POP_SECONDS + 5
    return redis.Redis.from_url(
        settings.redis_url, socket_timeout=patience, socket_connect_timeout=5, health_check_interval=30
    )


if __name__ == "__main__":
    sys.exit(main())
