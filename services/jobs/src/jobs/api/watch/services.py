"""What the views of jobs-watch work with."""

from dataclasses import dataclass

from flask import current_app
from sqlalchemy import Engine

from common.clock import Clock
from jobs.api.watch.places import Places
from jobs.config import WatchSettings
from jobs.engine.hub import Hub


@dataclass(frozen=True, kw_only=True)
class WatchServices:
    """Every collaborator of the process jobs-watch."""

    engine: Engine
    clock: Clock
    hub: Hub
    places: Places
    settings: WatchSettings


def services() -> WatchServices:
    """The services of the application at hand."""
    found: WatchServices = current_app.extensions["services"]
    return found
