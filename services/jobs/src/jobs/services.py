"""What the views work with, handed to `create_app` and found again by `services()`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flask import current_app
from sqlalchemy import Connection, Engine

from common.clock import Clock
from common.objects import ObjectStore
from common.sealing import Sealer
from jobs.config import JobsSettings
from jobs.deliveries.outbound import Outbound
from jobs.engine.leases import WorkOrder
from jobs.engine.nudges import Nudge
from jobs.engine.run_tokens import Signer
from jobs.engine.tables import Run


@dataclass(frozen=True, kw_only=True)
class Services:
    """Every collaborator of the web process.

    `work_order` says what an executor gets when it claims a run; `live_executors` counts them by pool.
    """

    engine: Engine
    store: ObjectStore
    clock: Clock
    nudge: Nudge
    signer: Signer
    sealer: Sealer
    work_order: Callable[[Connection, Run], WorkOrder]
    outbound: Outbound
    settings: JobsSettings
    live_executors: Callable[[], Mapping[str, int]] = dict


def services() -> Services:
    """The services of the application at hand."""
    found: Services = current_app.extensions["services"]
    return found
