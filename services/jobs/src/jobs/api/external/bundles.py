"""Show the bundles a partner may use."""

from typing import Any

from flask.typing import ResponseReturnValue

from common.api import Blueprint
from common.database import transaction
from common.problems import not_found
from jobs.api.external import queries, schemas
from jobs.api.external.conditional import answer
from jobs.catalog import bundles, metadata
from jobs.catalog.tables import EnabledBundle
from jobs.services import services

blp = Blueprint("bundles", __name__, url_prefix="/api/v1/bundles", faulty_status=400)
_ANY = ("read:jobs", "create:jobs")
_PARTNER = [schemas.query("partner", "for whom", required=True)]


@blp.route("", methods=["GET"])
@blp.admits(any_scope=_ANY)
@blp.doc(parameters=_PARTNER)
@blp.conditional
@blp.refuses(400, "partner query parameter is required", "invalid-query")
@blp.refuses(404, "Partner not found: acme", "partner-not-found")
@blp.response(200, schemas.BundleDetail(many=True))
def list_bundles() -> ResponseReturnValue:
    """List the bundles enabled for a partner: what files and params each asks for."""
    partner = queries.partner()
    with transaction(services().engine) as connection:
        found = bundles.list_enabled(connection, partner)
    return answer([_document(each) for each in found])


@blp.route("/<group>/<name>", methods=["GET"])
@blp.admits(any_scope=_ANY)
@blp.doc(parameters=_PARTNER)
@blp.conditional
@blp.refuses(400, "partner query parameter is required", "invalid-query")
@blp.refuses(404, "Partner not found: acme", "partner-not-found")
@blp.refuses(404, "Bundle not found or not enabled for partner: assessments/NONE", "bundle-not-found")
@blp.response(200, schemas.BundleDetail)
def show_bundle(group: str, name: str) -> ResponseReturnValue:
    """Show one bundle enabled for a partner."""
    partner, key = queries.partner(), f"{group}/{name}"
    with transaction(services().engine) as connection:
        found = bundles.find_enabled(connection, partner, key) if metadata.KEY.fullmatch(key) else None
    if found is None:
        raise not_found(f"Bundle not found or not enabled for partner: {key}", "bundle-not-found")
    return answer(_document(found))


def _document(enabled: EnabledBundle) -> dict[str, Any]:
    version, described = enabled.version, enabled.version.metadata
    return {
        "bundle": version.key,
        "displayName": described["display_name"],
        "version": version.number,
        "files": [{**_input(each), "fileTypes": each["file_type"]} for each in described["input_files"]],
        "params": [
            {**_input(each), "allowedValues": each["allowed_values"]} for each in described["input_params"]
        ],
        "reportResources": described["report_resources"],
        "warnings": list(version.warnings),
    }


def _input(declared: dict[str, Any]) -> dict[str, Any]:
    return {
        "key": declared["env_var"],
        "displayName": declared["display_name"],
        "required": declared["is_required"],
    }
