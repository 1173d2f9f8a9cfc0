"""The composition root: settings become collaborators, collaborators become an application."""

from flask import Flask

from common import api, database
from common.api import SignedHeaders
from common.clock import SystemClock
from common.objects import S3Settings, S3Store
from outputs.api import executors, internal, output_sets
from outputs.config import OutputsSettings
from outputs.problems import PROBLEMS
from outputs.services import Services


def assemble(settings: OutputsSettings) -> Services:
    """Make the real collaborators; nothing is connected to before its first use."""
    store = S3Settings(
        url=settings.s3_url,
        public_url=settings.s3_public_url,
        region=settings.s3_region,
        bucket=settings.s3_bucket,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key,
    )
    return Services(
        engine=database.connect(settings.database_url, "outputs"),
        store=S3Store(store),
        clock=SystemClock(),
        signature_keys=settings.signature_keys,
    )


def create_app(services: Services) -> Flask:
    """Build the application around its collaborators."""
    return api.create_app(
        name="outputs",
        title="Taxiway outputs",
        authenticate=SignedHeaders(services.signature_keys, services.clock),
        blueprints=(output_sets.blp, executors.blp, internal.blp),
        errors=PROBLEMS,
        probes={
            "postgresql": lambda: database.probe(services.engine),
            "object-storage": services.store.probe,
        },
        clock=services.clock,
        services=services,
    )
