"""What the gateway works with, handed to `create_app` and found again by `services()`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

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
    urls: Mapping[str, str] = field(default_factory=dict)  # of the upstreams, for the forward lane
    logs_requests: bool = True
    client_silence_seconds: float = 30.0
    document: bytes = b"{}"


def services() -> Services:
    """The services of the application at hand."""
    found: Services = current_app.extensions["services"]
    return found
