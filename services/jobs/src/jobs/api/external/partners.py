"""Show a partner: its tenants, its school years and where each sends."""

from typing import Any

from flask.typing import ResponseReturnValue

from common.api import Blueprint
from common.database import transaction
from common.problems import not_found
from jobs.api.external import queries, schemas
from jobs.api.external.conditional import answer
from jobs.catalog import partners
from jobs.catalog.tables import Partner
from jobs.services import services

blp = Blueprint("partners", __name__, url_prefix="/api/v1/partners", faulty_status=400)


@blp.route("/<code>", methods=["GET"])
@blp.admits(any_scope=("read:jobs", "create:jobs"))
@blp.conditional
@blp.refuses(404, "Partner not found: acme", "partner-not-found")
@blp.response(200, schemas.PartnerDetail)
def show_partner(code: str) -> ResponseReturnValue:
    """Show a partner of the token's scope."""
    queries.visible_partner(code)
    with transaction(services().engine) as connection:
        found = partners.find(connection, code)
    if found is None:
        raise not_found(f"Partner not found: {code}", "partner-not-found")
    return answer(_document(found))


def _document(partner: Partner) -> dict[str, Any]:
    return {
        "code": partner.code,
        "name": partner.name,
        "tenants": [{"code": tenant.code, "name": tenant.name} for tenant in partner.tenants],
        "schoolYears": [
            {
                "schoolYear": year.school_year,
                "enabled": year.enabled,
                "sendsToOds": year.sends_to_ods,
                "odsTenants": list(year.ods_tenants),
            }
            for year in partner.years
        ],
    }
