"""Put the gateway together: everything it needs comes in from outside."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import urllib3
from flask import Flask, Request

from common import database
from common.api import ErrorTable
from common.api import create_app as create_service
from common.clock import Clock, SystemClock
from common.principal import Principal
from gateway import access, applications, problems, routes, sources, tokens
from gateway.addresses import Proxies
from gateway.admission import Admission
from gateway.api import api_keys, apps, authorization, documentation, older_apps
from gateway.api.token import blp as token_blueprint
from gateway.api_keys import BeyondItsMaker, KeyUnknown
from gateway.config import Settings
from gateway.counters import Counters
from gateway.forward import Upstreams
from gateway.key_desk import KeyDesk
from gateway.keys import KeySet
from gateway.lane import PRINCIPAL, Lane
from gateway.quotas import Failures, Limits, Quotas
from gateway.revocations import Revocations
from gateway.services import Services
from gateway.tokens import Issuer
from gateway.usage import Usage
from gateway.verdicts import Verdicts

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

MANAGEMENT = (apps.applications, apps.service_accounts, older_apps.blp, authorization.blp, api_keys.blp)
ERRORS: ErrorTable = {
    applications.ApplicationUnknown: lambda error: problems.application_unknown(error.id),
    applications.NameTaken: lambda error: problems.name_taken(error.name),
    access.RuleUnknown: lambda _: problems.rule_unknown(),
    access.RuleExists: lambda _: problems.rule_exists(),
    access.RightsMix: lambda error: problems.rights_mix(error.partner),
    KeyUnknown: lambda _: problems.key_unknown(),
    BeyondItsMaker: lambda error: problems.beyond_its_maker(error.beyond),
}
TARGETS = ("jobs", "jobs-watch", "outputs", "issuer", routes.GATEWAY)


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """What a lane outside the application needs: its services, and the application without a lane."""

    services: Services
    local: "WSGIApplication"


def build_services(settings: Settings, clock: Clock) -> Services:
    """Wire the gateway up from its settings. Nothing is asked of anybody yet.

    Raises RoutesError for a faulty route table.
    """
    http = urllib3.PoolManager(num_pools=8, maxsize=4, retries=False)
    counters = Counters.from_url(settings.redis_url)
    engine = database.connect(settings.database_url, "gateway")
    admission = Admission(
        table=routes.load(Path(settings.routes_file), TARGETS).of(settings.upstreams),
        issuers=believed(settings, http, clock),
        signing={
            "jobs": settings.jobs_signing_key,
            "jobs-watch": settings.jobs_signing_key,  # one service, one schema: one receiver
            "outputs": settings.outputs_signing_key,
        },
        verdicts=Verdicts(),
        revocations=Revocations(engine, settings.own_issuer, clock),
        keys=KeyDesk(engine, settings.own_issuer, clock),
        clock=clock,
    )
    return Services(
        engine=engine,
        admission=admission,
        upstreams=Upstreams(settings.upstreams),
        limits=limits(settings, counters, clock),
        usage=Usage(engine, counters, clock),
        clock=clock,
        urls=settings.upstreams,
        logs_requests=settings.log_level.upper() in ("DEBUG", "INFO"),
        client_silence_seconds=settings.client_silence_seconds,
        document=documentation.document(settings.public_url),
    )


def limits(settings: Settings, counters: Counters, clock: Clock) -> Limits:
    """How often principals may call, and addresses may fail."""
    usual = settings.requests_per_hour
    per_hour = {"client": usual, "api-key": usual, "run": settings.run_requests_per_hour}
    return Limits(
        quotas=Quotas(counters, clock, per_hour),
        failures=Failures(counters, clock, settings.failed_auth_limit),
        proxies=Proxies(settings.trusted_proxies),
    )


def believed(settings: Settings, http: urllib3.PoolManager, clock: Clock) -> Mapping[str, Issuer]:
    """The issuers whose tokens count: the configured ones, and jobs for run tokens."""
    clients = [
        Issuer(
            name=name,
            audience=settings.audience,
            algorithms=tokens.ASYMMETRIC,
            keys=KeySet(name, sources.discovery(http, name), clock),
            principal=tokens.client_principal(honours_roles=name == settings.own_issuer),
        )
        for name in settings.oauth2_issuers
    ]
    runs = Issuer(
        name=tokens.RUN_ISSUER,
        audience=tokens.RUN_AUDIENCE,
        algorithms=("EdDSA",),
        keys=KeySet(
            tokens.RUN_ISSUER,
            sources.run_keys(http, settings.jobs_url, settings.jobs_signing_key, clock),
            clock,
        ),
        principal=tokens.run_principal,
    )
    return {issuer.name: issuer for issuer in (*clients, runs)}


def create_app(services: Services | None) -> Flask:
    """Build the gateway's own resources and put the lane before them.

    Without services there is no lane and nothing answers: enough to read its OpenAPI document.
    """
    app = create_service(
        name="gateway",
        title="Taxiway gateway",
        authenticate=_admitted,
        blueprints=[token_blueprint, *MANAGEMENT],
        errors=ERRORS,
        probes=_probes(services) if services else {},
        clock=services.clock if services else SystemClock(),
        services=services,
        names_probes=False,
    )
    if services:
        app.register_blueprint(documentation.pages(services.document))
        app.extensions["gateway"] = Gateway(services=services, local=app.wsgi_app)
        lane = Lane(
            app.wsgi_app,
            services.admission,
            services.upstreams,
            services.limits,
            services.clock,
            client_silence_seconds=services.client_silence_seconds,
        )
        app.wsgi_app = lane  # type: ignore[method-assign]
    return app


def _probes(services: Services) -> dict[str, Callable[[], None]]:
    upstreams = {name: partial(services.upstreams.probe, name) for name in ("jobs", "outputs")}
    return {"postgresql": partial(database.probe, services.engine), **upstreams}


def _admitted(req: Request) -> Principal:
    """The caller as the lane found it; a view is reached through the lane only."""
    caller: Principal = req.environ[PRINCIPAL]
    return caller
