"""The composition root: settings become collaborators, collaborators become an application."""

from functools import partial

from flask import Flask

from common import api, database
from common.api import SignedHeaders
from common.clock import SystemClock
from common.objects import S3Settings, S3Store
from common.sealing import Sealer
from jobs.api import admin, engine, external, internal, sdk
from jobs.assessments.work import WorkOrders
from jobs.catalog import ods_check
from jobs.config import ImportSettings, JobsSettings
from jobs.deliveries.outbound import GuardedHttp
from jobs.engine import turns
from jobs.engine.nudges import RedisNudge, connect
from jobs.engine.run_tokens import Signer
from jobs.problems import PROBLEMS
from jobs.services import Services

REDIS_TIMEOUT_SECONDS = 2.0


def storage(settings: ImportSettings) -> S3Store:
    """Make the object store of this service."""
    return S3Store(
        S3Settings(
            url=settings.s3_url,
            public_url=settings.s3_public_url,
            region=settings.s3_region,
            bucket=settings.s3_bucket,
            access_key=settings.s3_access_key,
            secret_key=settings.s3_secret_key,
        )
    )


def assemble(settings: JobsSettings) -> Services:
    """Make the real collaborators; nothing is connected to before its first use."""
    clock, store, sealer = SystemClock(), storage(settings), Sealer(dict(settings.sealing_keys))
    return Services(
        engine=database.connect(settings.database_url, "jobs"),
        store=store,
        clock=clock,
        nudge=RedisNudge.from_url(settings.redis_url),
        signer=Signer(settings.run_token_key, clock),
        sealer=sealer,
        work_order=WorkOrders(store=store, sealer=sealer, clock=clock, memory_mb=settings.run_memory_mb),
        outbound=GuardedHttp(settings.ods_allowed_hosts, "ODS_ALLOWED_HOSTS", seconds=ods_check.SECONDS),
        settings=settings,
        live_executors=partial(
            turns.executors, connect(settings.redis_url, timeout_seconds=REDIS_TIMEOUT_SECONDS)
        ),
    )


def create_app(services: Services) -> Flask:
    """Build the application around its collaborators."""
    return api.create_app(
        name="jobs",
        title="Taxiway jobs",
        authenticate=SignedHeaders(services.settings.signature_keys, services.clock),
        blueprints=(
            *external.BLUEPRINTS,
            *engine.BLUEPRINTS,
            *admin.BLUEPRINTS,
            *sdk.BLUEPRINTS,
            *internal.BLUEPRINTS,
        ),
        errors=PROBLEMS,
        # Not Redis: without it runs are created all the same and wait in PostgreSQL's line.
        probes={
            "postgresql": lambda: database.probe(services.engine),
            "object-storage": services.store.probe,
        },
        clock=services.clock,
        services=services,
    )
