"""Manage the bundles a partner may use."""

from flask.typing import ResponseReturnValue

from common.api import Blueprint
from common.problems import not_found
from jobs.api.admin import acting, documents, schemas
from jobs.api.admin.acting import EDITORS, READERS, REFUSALS
from jobs.api.external.conditional import answer
from jobs.api.external.schemas import body_of
from jobs.catalog import pruning

blp = Blueprint(
    "admin-bundles",
    __name__,
    url_prefix="/api/v1/admin/partners/<code>/bundles",
    faulty_status=400,
    tag="Administration",
    refusals=REFUSALS,
)


@blp.route("", methods=["GET"])
@blp.admits(roles=READERS)
@blp.conditional
@blp.response(200, schemas.BundleItem(many=True))
def list_enabled_bundles(code: str) -> ResponseReturnValue:
    """List the bundles enabled for a partner, imported or not."""
    return answer(documents.parts(code, "bundles"))


@blp.route("/<group>/<name>", methods=["GET"])
@blp.admits(roles=READERS)
@blp.conditional
@blp.response(200, schemas.BundleItem)
def show_enabled_bundle(code: str, group: str, name: str) -> ResponseReturnValue:
    """Show how a bundle is enabled for a partner."""
    return answer(documents.part(code, "bundles", {"bundle": f"{group}/{name}"}))


@blp.route("/<group>/<name>", methods=["PUT"])
@blp.admits(roles=EDITORS)
@blp.doc(requestBody=body_of(schemas.BundleBody, required=False))
@blp.response(200, schemas.BundleItem)
@blp.refuses(400, "name must be a text of one line", "invalid-declaration")
@blp.alt_response(201, schema=schemas.BundleItem, description="It is new")
def put_enabled_bundle(code: str, group: str, name: str) -> ResponseReturnValue:
    """Enable a bundle for a partner, or change how it runs there; it may be imported later."""
    is_new = acting.declare(code, "bundles", {**acting.object_body(), "key": f"{group}/{name}"})
    return documents.part(code, "bundles", {"bundle": f"{group}/{name}"}), 201 if is_new else 200


@blp.route("/<group>/<name>", methods=["DELETE"])
@blp.admits(roles=EDITORS)
@blp.response(204)
def disable_enabled_bundle(code: str, group: str, name: str) -> ResponseReturnValue:
    """Take a bundle from a partner; jobs created with it run on."""
    missing = not_found(f"{code} has no bundle {group}/{name}", "bundle-not-found")
    acting.end(code, missing, lambda connection: pruning.bundle(connection, code, f"{group}/{name}"))
    return "", 204
