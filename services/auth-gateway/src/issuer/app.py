"""Put the issuer together: everything it needs comes in from outside."""

from functools import partial

from flask import Flask, Request, Response, jsonify

from common import api, database
from common.clock import Clock, SystemClock
from common.logs import get_logger
from common.principal import Principal
from common.problems import unauthorized
from common.sealing import Sealer
from issuer.api import logins, realms
from issuer.config import Settings
from issuer.errors import OAuthError
from issuer.keys import KeyRing
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
    app.register_error_handler(OAuthError, refuse)
    return app


def refuse(error: OAuthError) -> Response:
    """Write an error as RFC 6749 §5.2 wants it."""
    get_logger().info("login_refused", error=error.error)
    response = jsonify(error=error.error, error_description=error.description)
    response.status_code = error.status
    response.headers.update(realms.no_store())
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="taxiway"'
    return response


def _nobody(req: Request) -> Principal:
    raise unauthorized("This address is not for callers with an identity")
