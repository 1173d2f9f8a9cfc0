"""Client applications and service accounts: two lists of the same thing."""

from dataclasses import asdict
from typing import Any

from flask.typing import ResponseReturnValue
from marshmallow import Schema
from sqlalchemy import Connection

from common.api import Blueprint
from common.clock import rfc3339
from common.database import transaction
from gateway import applications as managed
from gateway import audit
from gateway.api import acting, schemas
from gateway.api.acting import ADMINISTRATORS, REFUSALS
from gateway.applications import APP, SERVICE_ACCOUNT, Managed
from gateway.services import services

MISSING = (404, "Application not found: 17", "application-not-found")
TAKEN = (409, "Another application is named nightly-import", "name-taken")
SHOWN = (409, "The first request with this Idempotency-Key was done", "secret-shown-once")


def shown(application: Managed) -> dict[str, Any]:
    """An application as its schema writes it."""
    times = {name: rfc3339(getattr(application, name)) for name in ("created_at", "updated_at")}
    return {**asdict(application), **times}


def create(connection: Connection, kind: str, name: str) -> tuple[Managed, str]:
    """Make an application, once for an Idempotency-Key, and tell its secret."""
    actor = acting.actor()
    application, secret = acting.shown_once(
        connection, lambda: managed.create(connection, kind, name, actor.name)
    )
    audit.record(connection, actor, "application.created", application.client_id, name=name, kind=kind)
    return application, secret


def rotate(connection: Connection, application: Managed) -> str:
    """Give an application a new secret, once for an Idempotency-Key, and tell it."""
    secret = acting.shown_once(
        connection, lambda: managed.rotate(connection, application, services().clock.now())
    )
    audit.record(connection, acting.actor(), "application.secret-rotated", application.client_id)
    return secret


def enable(connection: Connection, application: Managed, enabled: bool) -> None:
    """Enable or disable an application."""
    managed.enable(connection, application, enabled, services().clock.now())
    act = "application.enabled" if enabled else "application.disabled"
    audit.record(connection, acting.actor(), act, application.client_id)


def delete(connection: Connection, application: Managed) -> None:
    """Delete an application."""
    managed.delete(connection, application, services().clock.now())
    audit.record(
        connection, acting.actor(), "application.deleted", application.client_id, name=application.name
    )


def _views(address: str, kind: str, made: type[Schema]) -> Blueprint:
    blp = Blueprint(address, __name__, url_prefix=f"/api/v1/{address}", tag="Applications", refusals=REFUSALS)

    @blp.route("", methods=["GET"])
    @blp.admits(roles=ADMINISTRATORS)
    @blp.response(200, schemas.Application(many=True))
    def list_applications() -> list[dict[str, Any]]:
        """List those that may ask for a token, without their secrets."""
        with transaction(services().engine) as connection:
            return [shown(each) for each in managed.listed(connection, [kind])]

    @blp.route("", methods=["POST"])
    @blp.admits(roles=ADMINISTRATORS)
    @blp.repeatable
    @blp.refuses(*TAKEN)
    @blp.refuses(*SHOWN)
    @blp.arguments(schemas.NewApplication)
    @blp.response(201, made)
    def create_application(body: dict[str, str]) -> dict[str, Any]:
        """Make one. Its secret is shown this once; what it may do, access rules say."""
        with transaction(services().engine) as connection:
            application, secret = create(connection, kind, body["name"])
        return {**shown(application), "secret": secret}

    @blp.route("/<id>", methods=["GET"])
    @blp.admits(roles=ADMINISTRATORS)
    @blp.refuses(*MISSING)
    @blp.response(200, schemas.Application)
    def show_application(id: str) -> dict[str, Any]:
        """Show one, without its secret."""
        with transaction(services().engine) as connection:
            return shown(managed.find(connection, id, [kind]))

    @blp.route("/<id>", methods=["PATCH"])
    @blp.admits(roles=ADMINISTRATORS)
    @blp.refuses(*MISSING)
    @blp.arguments(schemas.Enabling)
    @blp.response(204)
    def enable_application(body: dict[str, bool], id: str) -> ResponseReturnValue:
        """Enable or disable one. A disabled one gets no token, and those it has end within a second."""
        with transaction(services().engine) as connection:
            enable(connection, managed.find(connection, id, [kind]), body["enabled"])
        return "", 204

    @blp.route("/<id>", methods=["DELETE"])
    @blp.admits(roles=ADMINISTRATORS)
    @blp.refuses(*MISSING)
    @blp.response(204)
    def delete_application(id: str) -> ResponseReturnValue:
        """Delete one. Its tokens end within a second."""
        with transaction(services().engine) as connection:
            delete(connection, managed.find(connection, id, [kind]))
        return "", 204

    @blp.route("/<id>/secret", methods=["POST"])
    @blp.admits(roles=ADMINISTRATORS)
    @blp.repeatable
    @blp.refuses(*MISSING)
    @blp.refuses(*SHOWN)
    @blp.response(200, made)
    def rotate_secret(id: str) -> dict[str, Any]:
        """Give one a new secret, shown this once. The old secret and its tokens end within a second."""
        with transaction(services().engine) as connection:
            application = managed.find(connection, id, [kind])
            return {**shown(application), "secret": rotate(connection, application)}

    return blp


applications = _views("apps", APP, schemas.MadeApplication)
service_accounts = _views("service-accounts", SERVICE_ACCOUNT, schemas.MadeServiceAccount)
