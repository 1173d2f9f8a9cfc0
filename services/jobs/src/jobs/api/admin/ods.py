"""Manage ODS connections: one live a tenant and school year; secrets go in and never come out."""

from dataclasses import asdict
from typing import Any

from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from common.api import Blueprint
from common.database import transaction
from common.problems import Problem, conflict, not_found
from common.sealing import CannotUnseal
from jobs.api.admin import acting, documents, schemas
from jobs.api.admin.acting import EDITORS, READERS, REFUSALS
from jobs.api.external.conditional import answer
from jobs.api.external.schemas import body_of
from jobs.catalog import audit, declarations, ods, ods_check, pruning
from jobs.catalog.ods_check import Step
from jobs.catalog.tables import Ods
from jobs.services import services

blp = Blueprint(
    "admin-ods",
    __name__,
    url_prefix="/api/v1/admin/partners/<code>",
    faulty_status=400,
    tag="Administration",
    refusals=REFUSALS,
)
_ONE = "/tenants/<tenant>/ods/<year>"


@blp.route("/ods", methods=["GET"])
@blp.admits(roles=READERS)
@blp.conditional
@blp.response(200, schemas.OdsItem(many=True))
def list_ods(code: str) -> ResponseReturnValue:
    """List the live connections of a partner."""
    return answer(documents.parts(code, "ods"))


@blp.route(_ONE, methods=["GET"])
@blp.admits(roles=READERS)
@blp.conditional
@blp.response(200, schemas.OdsItem)
def show_ods(code: str, tenant: str, year: str) -> ResponseReturnValue:
    """Show the live connection of a tenant in a school year."""
    return answer(documents.part(code, "ods", {"tenant": tenant, "schoolYear": year}))


@blp.route(_ONE, methods=["PUT"])
@blp.admits(roles=EDITORS)
@blp.doc(requestBody=body_of(schemas.OdsBody, required=True))
@blp.response(200, schemas.OdsItem)
@blp.refuses(400, "url must be an http:// or https:// URL", "invalid-declaration")
@blp.refuses(400, "ODS of ea/ea 2027: give client id and secret", "credentials-missing")
@blp.refuses(400, "ODS of ea/north 2027: there is no such tenant", "tenant-not-found")
@blp.alt_response(201, schema=schemas.OdsItem, description="It is new")
def put_ods(code: str, tenant: str, year: str) -> ResponseReturnValue:
    """Connect a tenant's school year to an ODS, or change the connection.

    Another URL retires the connection and makes a new one; jobs keep the one they were created with. The
    secret may be left out while URL and token URL stay what they are.
    """
    is_new = acting.declare(code, "ods", {**acting.object_body(), "tenant": tenant, "year": year})
    key = {"tenant": tenant, "schoolYear": year}
    return documents.part(code, "ods", key), 201 if is_new else 200


@blp.route(_ONE, methods=["DELETE"])
@blp.admits(roles=EDITORS)
@blp.refuses(404, "ea/ea has no ODS in 2027", "ods-not-found")
@blp.response(204)
def retire_ods(code: str, tenant: str, year: str) -> ResponseReturnValue:
    """Retire a connection; jobs created with it keep it."""

    def plan(connection: Connection) -> Any:
        stored = _live(connection, code, tenant, year)
        return iter([pruning.retire_ods(stored)] if stored else [])

    acting.end(code, _missing(code, tenant, year), plan)
    return "", 204


@blp.route(f"{_ONE}/check", methods=["POST"])
@blp.admits(roles=EDITORS)
@blp.refuses(404, "ea/ea has no ODS in 2027", "ods-not-found")
@blp.refuses(409, "The secret was sealed with a key we no longer have: put it again", "secret-unreadable")
@blp.response(200, schemas.OdsChecked)
def check_ods(code: str, tenant: str, year: str) -> Any:
    """Try a connection: fetch its discovery document and a token, and say what fails.

    Addresses inside our own network are refused unless the operator allows them (`ODS_ALLOWED_HOSTS`).
    """
    with transaction(services().engine) as connection:
        stored = _live(connection, code, tenant, year)
        if stored is None:
            raise _missing(code, tenant, year)
        opened = _opened(connection, stored)
    steps = ods_check.check(opened, services().outbound)
    passed = all(step.passed for step in steps)
    with transaction(services().engine) as connection:
        audit.record(connection, acting.actor(), "ods.checked", f"{code}/{tenant} {year}", passed=passed)
    return {"passed": passed, "steps": [_step(step) for step in steps]}


def _live(connection: Connection, code: str, tenant: str, year: str) -> Ods | None:
    if not declarations.CODE.fullmatch(code):
        return None
    found = {(each.tenant, each.end_year): each for each in ods.live_of(connection, code)}
    return found.get((tenant, year))


def _opened(connection: Connection, stored: Ods) -> Ods:
    try:
        return ods.unsealed(connection, stored.id, services().sealer)
    except CannotUnseal:
        detail = "The secret was sealed with a key we no longer have: put it again"
        raise conflict(detail, "secret-unreadable") from None


def _missing(code: str, tenant: str, year: str) -> Problem:
    return not_found(f"{code}/{tenant} has no ODS in {year}", "ods-not-found")


def _step(step: Step) -> dict[str, Any]:
    told = asdict(step)
    return {"step": told["name"], "url": told["url"], "passed": told["passed"], "message": told["said"]}
