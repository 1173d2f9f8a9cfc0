"""The door of live streams: `gunicorn -c python:common.serving "jobs.watch:build()"`, under greenlets.

One process holds thousands of streams: each is a greenlet that waits. One more greenlet follows the nudges
and reads for all of them; nobody holds a database connection while waiting.
"""

import os
import signal
import threading
from types import FrameType
from uuid import UUID

from flask import Flask
from redis import RedisError

from common import api, database, greenlets, ids, logs, settings
from common.api import SignedHeaders
from common.clock import SystemClock
from common.database import Unavailable
from common.settings import SettingsError
from jobs.api import watch
from jobs.api.watch import frames
from jobs.api.watch.places import Places
from jobs.api.watch.problems import PROBLEMS
from jobs.api.watch.services import WatchServices
from jobs.config import WatchSettings
from jobs.engine import nudges
from jobs.engine.hub import Hub
from jobs.engine.listening import Listener
from jobs.engine.outages import Outages

REDIS_TIMEOUT_SECONDS = 3.0
DATABASE_CONNECTIONS = 8
RUN = "run:"


def create_app(services: WatchServices) -> Flask:
    """Build the application around its collaborators."""
    return api.create_app(
        name="jobs-watch",
        title="Taxiway live streams",
        authenticate=SignedHeaders(services.settings.signature_keys, services.clock),
        blueprints=watch.BLUEPRINTS,
        errors=PROBLEMS,
        # Not Redis: without it events come once a second.
        probes={"postgresql": lambda: database.probe(services.engine)},
        clock=services.clock,
        services=services,
    )


def assemble(loaded: WatchSettings) -> WatchServices:
    """Make the real collaborators; nothing is connected to before its first use."""
    engine = database.connect(loaded.database_url, "jobs-watch", pool_size=DATABASE_CONNECTIONS)
    return WatchServices(
        engine=engine,
        clock=SystemClock(),
        hub=Hub(engine, frames.of_event),
        places=Places(loaded.streams_per_principal),
        settings=loaded,
    )


def follow(hub: Hub, listener: Listener, stop: threading.Event, tick_seconds: float) -> None:
    """Read for all watchers until `stop`: at every nudge its run, at every tick all. Never gives up."""
    outages = Outages(stop, (Unavailable, RedisError), longest_pause_seconds=tick_seconds)
    next_tick = 0.0
    while not stop.is_set():
        with outages.survived():
            now = listener.monotonic()
            if now >= next_tick:
                next_tick = now + tick_seconds
                hub.tick()
            hub.read(runs_of(listener.wait(next_tick - listener.monotonic())))


def follow_or_end(hub: Hub, listener: Listener, stop: threading.Event, tick_seconds: float) -> None:
    """Follow; end the worker when that fails, for its streams would be silent for ever."""
    try:
        follow(hub, listener, stop, tick_seconds)
    except Exception as error:  # the edge of the process
        logs.get_logger().error("follow_failed", exc_info=error)
        os.kill(os.getpid(), signal.SIGTERM)


def runs_of(heard: frozenset[str]) -> list[UUID]:
    """Pick the runs out of what was heard."""
    named = (ids.parse_uuid(word.removeprefix(RUN)) for word in heard if word.startswith(RUN))
    return [run for run in named if run]


def require_greenlets() -> None:
    """Raise SettingsError where each stream would take a thread."""
    if not greenlets.are_at_work():
        raise SettingsError(["WEB_WORKER_CLASS must be common.greenlets.Worker for jobs-watch"])


def end_at_sigterm(hub: Hub, stop: threading.Event) -> None:
    """End the streams when gunicorn is told to stop: it waits for them."""
    stops_gunicorn = signal.getsignal(signal.SIGTERM)

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()
        hub.close()
        if callable(stops_gunicorn):
            stops_gunicorn(number, frame)

    signal.signal(signal.SIGTERM, handle)


def build() -> Flask:
    """Build the application of one worker and begin to follow; raises SettingsError."""
    loaded = settings.load(WatchSettings, os.environ)
    logs.configure("jobs-watch", loaded.log_level)
    require_greenlets()
    services, stop = assemble(loaded), threading.Event()
    end_at_sigterm(services.hub, stop)
    redis = nudges.connect(loaded.redis_url, timeout_seconds=REDIS_TIMEOUT_SECONDS)
    follows = (services.hub, Listener(redis, services.clock), stop, loaded.tick_seconds)
    threading.Thread(target=follow_or_end, args=follows, name="follow", daemon=True).start()
    return create_app(services)
