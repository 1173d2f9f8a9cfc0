"""What the issuer's views work with, handed to `create_app` and found again by `services()`."""

from dataclasses import dataclass

from flask import current_app
from sqlalchemy import Engine

from common.clock import Clock
from issuer.config import Settings
from issuer.keys import KeyRing


@dataclass(frozen=True, kw_only=True)
class Services:
    """Every collaborator of the web process."""

    engine: Engine
    keys: KeyRing
    clock: Clock
    settings: Settings


def services() -> Services:
    """The services of the application at hand."""
    found: Services = current_app.extensions["services"]
    return found
