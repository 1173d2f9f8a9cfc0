"""Manage partners."""

from flask.typing import ResponseReturnValue

from common.api import Blueprint
from common.database import transaction
from jobs.api.admin import acting, documents, schemas
from jobs.api.admin.acting import EDITORS, READERS, REFUSALS
from jobs.api.external.conditional import answer
from jobs.api.external.schemas import body_of
from jobs.catalog import partners, pruning
from jobs.services import services

blp = Blueprint(
    "admin-partners",
    __name__,
    url_prefix="/api/v1/admin/partners",
    faulty_status=400,
    tag="Administration",
    refusals=REFUSALS,
)


@blp.route("", methods=["GET"])
@blp.admits(roles=READERS)
@blp.conditional
@blp.response(200, schemas.PartnerItem(many=True))
def list_partners() -> ResponseReturnValue:
    """List the partners by code."""
    with transaction(services().engine) as connection:
        found = partners.list_all(connection)
    return answer([{"code": code, "name": name} for code, name in found])


@blp.route("/<code>", methods=["GET"])
@blp.admits(roles=READERS)
@blp.conditional
@blp.refuses(404, "Partner not found: acme", "partner-not-found")
@blp.response(200, schemas.PartnerDocument)
def show_managed_partner(code: str) -> ResponseReturnValue:
    """Show a partner with its tenants, school years, bundles and ODS connections."""
    with transaction(services().engine) as connection:
        return answer(documents.partner(connection, code))


@blp.route("/<code>", methods=["PUT"])
@blp.admits(roles=EDITORS)
@blp.doc(requestBody=body_of(schemas.NamedBody, required=False))
@blp.response(200, schemas.PartnerDocument)
@blp.refuses(400, "name must be a text of one line", "invalid-declaration")
@blp.alt_response(201, schema=schemas.PartnerDocument, description="It is new")
def put_partner(code: str) -> ResponseReturnValue:
    """Make a partner, or change its name; parts named with it are put too, none is removed."""
    is_new = acting.declare_partner(code, acting.object_body())
    with transaction(services().engine) as connection:
        return documents.partner(connection, code), 201 if is_new else 200


@blp.route("/<code>", methods=["DELETE"])
@blp.admits(roles=EDITORS)
@blp.refuses(404, "Partner not found: acme", "partner-not-found")
@blp.response(204)
def retire_partner(code: str) -> ResponseReturnValue:
    """Retire a partner and all its parts; its jobs run on with what they have."""
    acting.end(code, acting.missing_partner(code), lambda connection: pruning.partner(connection, code))
    return "", 204
