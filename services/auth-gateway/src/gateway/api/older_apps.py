"""The older form: an application, its roles and its partners in one call, known by its client id."""

from typing import Any

from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from common.api import Blueprint
from common.database import transaction
from common.problems import bad_request
from gateway import access, applications
from gateway.access import Grant
from gateway.api import apps, authorization, schemas
from gateway.api.acting import ADMINISTRATORS, REFUSALS
from gateway.applications import APP, Managed
from gateway.services import services

blp = Blueprint("older-apps", __name__, url_prefix="/v1/k8s/apps", tag="Applications", refusals=REFUSALS)
MIXED = (409, "A token's scopes hold for all its partners", "rights-mix")


@blp.route("", methods=["GET"])
@blp.admits(roles=ADMINISTRATORS)
@blp.response(200, schemas.OlderApplication(many=True))
def list_applications_and_rights() -> list[dict[str, Any]]:
    """List the applications with their rights, without their secrets."""
    with transaction(services().engine) as connection:
        return [_shown(connection, each) for each in applications.listed(connection, [APP])]


@blp.route("", methods=["POST"])
@blp.admits(roles=ADMINISTRATORS)
@blp.repeatable
@blp.refuses(*apps.TAKEN)
@blp.refuses(*apps.SHOWN)
@blp.refuses(*MIXED)
@blp.arguments(schemas.NewOlderApplication)
@blp.response(201, schemas.MadeOlderApplication)
def create_application_and_rights(body: dict[str, Any]) -> dict[str, Any]:
    """Make an application with its rights. Its secret is shown this once."""
    with transaction(services().engine) as connection:
        application, secret = apps.create(connection, APP, body["name"])
        authorization.change(connection, application, give=_grants(connection, body))
        return {**_shown(connection, application), "secret": secret}


@blp.route("/<client_id>", methods=["GET"])
@blp.admits(roles=ADMINISTRATORS)
@blp.refuses(*apps.MISSING)
@blp.response(200, schemas.OlderApplication)
def show_application_and_rights(client_id: str) -> dict[str, Any]:
    """Show an application with its rights, without its secret."""
    with transaction(services().engine) as connection:
        return _shown(connection, applications.find_client(connection, client_id, [APP]))


@blp.route("/<client_id>", methods=["PUT"])
@blp.admits(roles=ADMINISTRATORS)
@blp.refuses(*apps.MISSING)
@blp.refuses(*MIXED)
@blp.arguments(schemas.OlderRights)
@blp.response(200, schemas.OlderApplication)
def put_rights(body: dict[str, Any], client_id: str) -> dict[str, Any]:
    """Give an application these rights and no others, and enable or disable it.

    When it loses a right or is disabled, its tokens end within a second. Its name stays.
    """
    with transaction(services().engine) as connection:
        application = applications.find_client(connection, client_id, [APP])
        _replace(connection, application, _grants(connection, body))
        if body["enabled"] != application.enabled:
            apps.enable(connection, application, body["enabled"])
        return _shown(connection, applications.find_client(connection, client_id))


@blp.route("/<client_id>", methods=["DELETE"])
@blp.admits(roles=ADMINISTRATORS)
@blp.refuses(*apps.MISSING)
@blp.response(204)
def delete_application_and_rights(client_id: str) -> ResponseReturnValue:
    """Delete an application. Its tokens end within a second."""
    with transaction(services().engine) as connection:
        apps.delete(connection, applications.find_client(connection, client_id, [APP]))
    return "", 204


@blp.route("/<client_id>/secret", methods=["POST"])
@blp.admits(roles=ADMINISTRATORS)
@blp.repeatable
@blp.refuses(*apps.MISSING)
@blp.refuses(*apps.SHOWN)
@blp.response(200, schemas.MadeOlderApplication)
def rotate_application_secret(client_id: str) -> dict[str, Any]:
    """Give an application a new secret, shown this once. The old one and its tokens end within a second."""
    with transaction(services().engine) as connection:
        application = applications.find_client(connection, client_id, [APP])
        return {**_shown(connection, application), "secret": apps.rotate(connection, application)}


def _shown(connection: Connection, application: Managed) -> dict[str, Any]:
    rules = access.rules_of(connection, application.id)
    roles = dict.fromkeys(rule.role for rule in rules)
    partners = dict.fromkeys(rule.partner for rule in rules if rule.partner is not None)
    return {**apps.shown(application), "roles": list(roles), "partners": list(partners)}


def _grants(connection: Connection, body: dict[str, Any]) -> list[Grant]:
    """Roles in any case; those that are given for partners are given for each."""
    known = {role.name.lower(): role for role in access.roles(connection)}
    names = list(dict.fromkeys(name.lower() for name in body["roles"]))
    unknown = [name for name in names if name not in known]
    if unknown:
        message = f"unknown: {', '.join(unknown)}"
        raise bad_request(f"roles: {message}", "invalid-input", {"roles": [message]})
    partners: list[str | None] = list(dict.fromkeys(body["partners"])) or [None]
    roles = [known[name] for name in names]
    return [Grant(role, partner) for role in roles for partner in (partners if role.is_partners else [None])]


def _replace(connection: Connection, application: Managed, grants: list[Grant]) -> None:
    rules = access.rules_of(connection, application.id)
    wanted = {(grant.role.id, grant.partner) for grant in grants}
    had = {(rule.role_id, rule.partner) for rule in rules}
    take = [rule for rule in rules if (rule.role_id, rule.partner) not in wanted]
    give = [grant for grant in grants if (grant.role.id, grant.partner) not in had]
    authorization.change(connection, application, take=take, give=give)
