"""The process: `WEB_WORKER_CLASS=gateway.relay.worker.RelayWorker` in gunicorn's configuration.

It serves the application that `gateway.wsgi:build()` makes; with any other worker class the same application
serves everything itself, more slowly.
"""

import asyncio
import os
import resource
import signal

import uvloop
from gunicorn.workers.base import Worker

from gateway.app import Gateway
from gateway.relay.clients import ClientConnection
from gateway.relay.lane import ForwardLane
from gateway.relay.local import LocalApp

BACKLOG = 2048
NOTIFY_SECONDS = 1.0
LAST_REQUEST_SECONDS = 2.0  # how long an idle client may still ask while we stop


class RelayWorker(Worker):
    """One loop, one process."""

    def init_process(self) -> None:
        """Begin with a loop of our own; gunicorn loads the application and calls run()."""
        _allow_many_files()
        self._loop = uvloop.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._is_hasty = False
        super().init_process()

    def init_signals(self) -> None:
        """Take signals in the loop."""
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        self._loop.add_signal_handler(signal.SIGTERM, self._stop)
        for number in (signal.SIGQUIT, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop_at_once)
        self._loop.add_signal_handler(signal.SIGUSR1, self.log.reopen_files)
        for number in (signal.SIGWINCH, signal.SIGUSR2):
            self._loop.add_signal_handler(number, lambda: None)

    def _stop(self) -> None:
        self.alive = False

    def _stop_at_once(self) -> None:
        self.alive = False
        self._is_hasty = True

    def run(self) -> None:
        """Serve until told to stop."""
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        lane = self._lane()
        servers = [
            await self._loop.create_server(lambda: ClientConnection(lane), sock=each.sock, backlog=BACKLOG)
            for each in self.sockets
        ]
        ticking = self._loop.create_task(lane.tick())
        while self.alive and self.ppid == os.getppid():
            self.notify()
            await asyncio.sleep(NOTIFY_SECONDS / 4)
        lane.is_stopping = True
        for server in servers:
            server.close()
        await self._finish(lane)
        ticking.cancel()
        lane.close()

    async def _finish(self, lane: ForwardLane) -> None:
        """Let what is under way end; an idle client that asks once more is told to come back elsewhere."""
        began = self._loop.time()
        while lane.connections and not self._is_hasty:
            passed = self._loop.time() - began
            if passed > self.cfg.graceful_timeout:
                break
            if passed > LAST_REQUEST_SECONDS:
                for connection in list(lane.connections):
                    connection.close_if_idle()
            self.notify()
            await asyncio.sleep(0.05)

    def _lane(self) -> ForwardLane:
        gateway: Gateway = self.wsgi.extensions["gateway"]
        local = LocalApp(gateway.local, threads=self.cfg.threads)
        return ForwardLane(loop=self._loop, services=gateway.services, local=local)


def _allow_many_files() -> None:
    """Thousands of streams are two sockets each."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
