"""What the gateway works with, handed to `create_app` and found again by `services()`."""

from dataclasses import dataclass

from flask import current_app
from sqlalchemy import Engine

from common.clock import Clock
from gateway.admission import Admission
from gateway.forward import Upstreams
from gateway.quotas import Limits
from gateway.usage import Usage


@dataclass(frozen=True, kw_only=True)
class Services:
    """Every collaborator of the web process. `document` is the OpenAPI document it shows."""

    engine: Engine
    admission: Admission
    upstreams: Upstreams
    limits: Limits
    usage: Usage
    clock: Clock
    client_silence_seconds: float = 30.0
    document: bytes = b"{}"


def services() -> Services:
    """The services of the application at hand."""
    found: Services = current_app.extensions["services"]
    return found
