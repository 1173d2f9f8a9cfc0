"""What the views work with, handed to `create_app` and found again by `services()`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from flask import current_app
from sqlalchemy import Engine

from common.clock import Clock
from common.objects import ObjectStore


@dataclass(frozen=True, kw_only=True)
class Services:
    """Every collaborator of the web process. `signature_keys` are those callers are signed with."""

    engine: Engine
    store: ObjectStore
    clock: Clock
    signature_keys: Mapping[str, bytes] = field(repr=False)


def services() -> Services:
    """The services of the application at hand."""
    found: Services = current_app.extensions["services"]
    return found
