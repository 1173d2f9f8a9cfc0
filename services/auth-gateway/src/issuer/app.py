"""Put the issuer together: everything it needs comes in from outside."""

from functools import partial

from authlib.oauth2 import OAuth2Error
from flask import Flask, Request

from common import api, database
from common.clock import Clock, SystemClock
from common.principal import Principal
from common.problems import unauthorized
from common.sealing import Sealer
from issuer.api import exchange, logins, realms
from issuer.config import Settings
from issuer.keys import KeyRing
from issuer.server import Server
from issuer.services import Services


def build_services(settings: Settings, clock: Clock) -> Services:
    """Make the collaborators; nothing is connected to before its first use."""
    engine = database.connect(settings.database_url, "issuer")
    keys = KeyRing(engine, Sealer({**settings.sealing_keys}), clock)
    return Services(engine=engine, keys=keys, clock=clock, settings=settings)


def create_app(services: Services | None) -> Flask:
    """Build the application. Without services nothing answers: enough to read its OpenAPI document."""
    app = api.create_app(
        name="issuer",
        title="Taxiway issuer",
        authenticate=_nobody,
        blueprints=[realms.blp, logins.blp],
        errors={},
        probes={"postgresql": partial(database.probe, services.engine)} if services else {},
        clock=services.clock if services else SystemClock(),
        services=services,
    )
    if services:
        app.extensions["authorization_server"] = Server(services)
    app.register_error_handler(OAuth2Error, exchange.refuse)
    return app


def _nobody(req: Request) -> Principal:
    raise unauthorized("This address is not for callers with an identity")
