"""Roles, and the access rules that give them to client applications."""

import re
from collections.abc import Sequence
from typing import Any

from flask import request
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from common import idempotency, pages
from common.api import Blueprint
from common.clock import rfc3339
from common.database import transaction
from common.problems import Problem, bad_request
from gateway import access, applications, audit
from gateway.access import Grant, Role, Rule
from gateway.api import acting, schemas
from gateway.api.acting import ADMINISTRATORS, REFUSALS
from gateway.applications import ApplicationUnknown, Managed
from gateway.services import services

blp = Blueprint(
    "authorization", __name__, url_prefix="/api/v1/authorization", tag="Applications", refusals=REFUSALS
)
QUERY = (
    ("subjectId", "only the rules of this application: its `clientId` or `id`"),
    ("limit", "1 to 1000, 100 if not given"),
    ("offset", "how many to pass over"),
)


@blp.route("/roles", methods=["GET"])
@blp.admits(roles=ADMINISTRATORS)
@blp.response(200, schemas.Role(many=True))
def list_roles() -> list[Role]:
    """List the roles and what they permit."""
    with transaction(services().engine) as connection:
        return access.roles(connection)


@blp.route("/access-rules", methods=["GET"])
@blp.admits(roles=ADMINISTRATORS)
@blp.doc(
    parameters=[
        {"in": "query", "name": name, "description": told, "schema": {"type": "string"}}
        for name, told in QUERY
    ]
)
@blp.response(200, schemas.AccessRules)
def list_access_rules() -> dict[str, Any]:
    """List access rules by age, a page of them."""
    limit, offset = pages.limit(request.args.get("limit")), _offset(request.args.get("offset", "0"))
    subject = request.args.get("subjectId", "")
    if subject and not applications.CLIENT_ID.fullmatch(subject):
        raise _faulty("subjectId", "the application's `clientId` or `id` is expected")
    with transaction(services().engine) as connection:
        total, found = access.page(connection, subject, offset, limit)
    return {"total": total, "displayed": len(found), "rules": [shown(rule) for rule in found]}


@blp.route("/access-rules", methods=["POST"])
@blp.admits(roles=ADMINISTRATORS)
@blp.repeatable
@blp.refuses(404, "Application not found: 17", "application-not-found")
@blp.refuses(409, "The application has this role there already", "access-rule-exists")
@blp.refuses(409, "A token's scopes hold for all its partners", "rights-mix")
@blp.arguments(schemas.NewRule)
@blp.response(201, schemas.AccessRule)
def create_access_rule(body: dict[str, Any]) -> dict[str, Any]:
    """Give an application a role, for one partner or for everything.

    Researcher and Viewer may be given for one partner, Editor and Administrator for everything only. Tokens
    that the application asks for from now on have it.
    """
    with transaction(services().engine) as connection:
        made = idempotency.once(connection, lambda: _create(connection, body))
        return shown(access.find(connection, made.reference))


@blp.route("/access-rules/<id>", methods=["DELETE"])
@blp.admits(roles=ADMINISTRATORS)
@blp.refuses(404, "Access rule not found", "access-rule-not-found")
@blp.refuses(409, "A token's scopes hold for all its partners", "rights-mix")
@blp.response(204)
def delete_access_rule(id: str) -> ResponseReturnValue:
    """Take a role away. The application's tokens end within a second; the next ones are without it."""
    if not re.fullmatch("[0-9]{1,18}", id):
        raise access.RuleUnknown
    with transaction(services().engine) as connection:
        rule = access.find(connection, int(id))
        application = applications.find(connection, str(rule.application_id))
        change(connection, application, take=[rule])
    return "", 204


def change(
    connection: Connection, application: Managed, *, take: Sequence[Rule] = (), give: Sequence[Grant] = ()
) -> list[Rule]:
    """Change what an application may do, note it in the audit, and return what it was given."""
    actor, now = acting.actor(), services().clock.now()
    given = access.change(connection, application, take=take, give=give, by=actor.name, now=now)
    for act, rules in (("access-rule.removed", take), ("access-rule.added", given)):
        for rule in rules:
            where = rule.partner or schemas.EVERYTHING
            audit.record(connection, actor, act, rule.client_id, role=rule.role, where=where)
    return given


def shown(rule: Rule) -> dict[str, Any]:
    """A rule as its schema writes it."""
    return {
        "id": rule.id,
        "subject_id": rule.client_id,
        "subject_type": rule.kind,
        "role_id": rule.role_id,
        "role_name": rule.role,
        "scope_type": schemas.PARTNER if rule.partner is not None else schemas.EVERYTHING,
        "scope_id": rule.partner or "",
        "created_by": rule.created_by,
        "created_at": rfc3339(rule.created_at),
    }


def _create(connection: Connection, body: dict[str, Any]) -> int:
    application = _subject(connection, body["subject_id"])
    grant = _grant(access.roles(connection), body)
    [rule] = change(connection, application, give=[grant])
    return rule.id


def _subject(connection: Connection, id: str) -> Managed:
    try:
        return applications.find_client(connection, id)
    except ApplicationUnknown:
        return applications.find(connection, id)


def _grant(roles: list[Role], body: dict[str, Any]) -> Grant:
    role = next((role for role in roles if role.id == body["role_id"]), None)
    if role is None:
        raise _faulty("roleId", "there is no such role")
    if body["scope_type"] == schemas.EVERYTHING:
        return Grant(role, None)
    if not role.is_partners:
        raise _faulty("scopeType", f"{role.name} is given for everything only")
    if not schemas.CODE.fullmatch(body["scope_id"]):
        raise _faulty("scopeId", "the partner's code is expected")
    return Grant(role, body["scope_id"])


def _faulty(field: str, message: str) -> Problem:
    return bad_request(f"{field}: {message}", "invalid-input", {field: [message]})


def _offset(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise _faulty("offset", "a whole number is expected")
    return int(text)
