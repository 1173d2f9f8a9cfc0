"""Manage a partner's tenants."""

from flask.typing import ResponseReturnValue

from common.api import Blueprint
from common.problems import not_found
from jobs.api.admin import acting, documents, schemas
from jobs.api.admin.acting import EDITORS, READERS, REFUSALS
from jobs.api.external.conditional import answer
from jobs.api.external.schemas import body_of
from jobs.catalog import pruning

blp = Blueprint(
    "admin-tenants",
    __name__,
    url_prefix="/api/v1/admin/partners/<code>/tenants",
    faulty_status=400,
    tag="Administration",
    refusals=REFUSALS,
)


@blp.route("", methods=["GET"])
@blp.admits(roles=READERS)
@blp.conditional
@blp.response(200, schemas.TenantItem(many=True))
def list_tenants(code: str) -> ResponseReturnValue:
    """List the tenants of a partner by code."""
    return answer(documents.parts(code, "tenants"))


@blp.route("/<tenant>", methods=["GET"])
@blp.admits(roles=READERS)
@blp.conditional
@blp.response(200, schemas.TenantItem)
def show_tenant(code: str, tenant: str) -> ResponseReturnValue:
    """Show a tenant."""
    return answer(documents.part(code, "tenants", {"code": tenant}))


@blp.route("/<tenant>", methods=["PUT"])
@blp.admits(roles=EDITORS)
@blp.doc(requestBody=body_of(schemas.NamedBody, required=False))
@blp.response(200, schemas.TenantItem)
@blp.refuses(400, "name must be a text of one line", "invalid-declaration")
@blp.alt_response(201, schema=schemas.TenantItem, description="It is new")
def put_tenant(code: str, tenant: str) -> ResponseReturnValue:
    """Make a tenant, or change its name."""
    is_new = acting.declare(code, "tenants", {**acting.object_body(), "code": tenant})
    return documents.part(code, "tenants", {"code": tenant}), 201 if is_new else 200


@blp.route("/<tenant>", methods=["DELETE"])
@blp.admits(roles=EDITORS)
@blp.response(204)
def retire_tenant(code: str, tenant: str) -> ResponseReturnValue:
    """Retire a tenant and its ODS connections; its jobs run on with what they have."""
    missing = not_found(f"{code} has no tenant {tenant}", "tenant-not-found")
    acting.end(code, missing, lambda connection: pruning.tenant(connection, code, tenant))
    return "", 204
