"""The forkserver: `python -m executor.smith FD`. Imports earthmover once and forks a child an order.

It runs one thread (pyarrow's allocator adds one that minds forks), knows no secrets and was started with an
environment of its own, so a fork of it is clean. It speaks with the executor over a socket: an order comes
with the write end of a pipe for the child's output; `{"pid"}` and, at the end, how the child ended go back.
When the executor is gone the child is killed and the smith ends.
"""

import gc
import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module

from executor.child import become
from executor.orders import Order

LARGEST_ORDER = 1024 * 1024
_USED_BY_EVERY_RUN = (
    "earthmover.__main__",
    "dask.dataframe",
    "jinja2.ext",
    "pandas.core.computation.expressions",
    "pyarrow",
)


def main() -> None:
    """Serve orders from the socket whose descriptor is the only argument."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)  # the executor decides when a child ends
    _warm_up()
    channel.send(b'{"ready":true}')
    while True:
        message, descriptors, _flags, _address = socket.recv_fds(channel, LARGEST_ORDER, 1)
        if not message:
            return
        if descriptors:  # without one it is a kill for a child that was already dead
            _serve(channel, Order.decode(message), descriptors[0])


def _warm_up() -> None:
    """Import what every child needs, and keep the collector from touching (and so copying) it."""
    for module in _USED_BY_EVERY_RUN:
        import_module(module)
    from executor.fingerprints import install

    install()
    gc.collect()
    gc.freeze()


def _serve(channel: socket.socket, order: Order, output: int) -> None:
    child = os.fork()
    if child == 0:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)
        become(order, output)
    os.close(output)
    channel.send(json.dumps({"pid": child}).encode())
    if not _watch(channel, child):
        _kill(child)
        os._exit(1)
    _pid, status, usage = os.wait4(child, 0)
    _kill(child)  # whatever it left behind in its group
    ended = {
        "exit_code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
    }
    channel.send(json.dumps(ended).encode())


def _watch(channel: socket.socket, child: int) -> bool:
    """Wait until the child ends, killing it when told to; False when the executor is gone."""
    handle = os.pidfd_open(child)
    try:
        while True:
            ready, _, _ = select.select([channel.fileno(), handle], [], [])
            if handle in ready:
                return True
            if not channel.recv(LARGEST_ORDER):
                return False
            _kill(child)
    finally:
        os.close(handle)


def _kill(child: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    with suppress(ProcessLookupError, ChildProcessError):
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    main()
