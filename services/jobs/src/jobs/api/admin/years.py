"""Manage a partner's school years."""

from flask.typing import ResponseReturnValue

from common.api import Blueprint
from common.problems import not_found
from jobs.api.admin import acting, documents, schemas
from jobs.api.admin.acting import EDITORS, READERS, REFUSALS
from jobs.api.external.conditional import answer
from jobs.api.external.schemas import body_of
from jobs.catalog import pruning

blp = Blueprint(
    "admin-school-years",
    __name__,
    url_prefix="/api/v1/admin/partners/<code>/school-years",
    faulty_status=400,
    tag="Administration",
    refusals=REFUSALS,
)


@blp.route("", methods=["GET"])
@blp.admits(roles=READERS)
@blp.conditional
@blp.response(200, schemas.YearItem(many=True))
def list_years(code: str) -> ResponseReturnValue:
    """List the school years of a partner."""
    return answer(documents.parts(code, "schoolYears"))


@blp.route("/<year>", methods=["GET"])
@blp.admits(roles=READERS)
@blp.conditional
@blp.response(200, schemas.YearItem)
def show_year(code: str, year: str) -> ResponseReturnValue:
    """Show a school year of a partner."""
    return answer(documents.part(code, "schoolYears", {"schoolYear": year}))


@blp.route("/<year>", methods=["PUT"])
@blp.admits(roles=EDITORS)
@blp.doc(requestBody=body_of(schemas.YearBody, required=False))
@blp.response(200, schemas.YearItem)
@blp.refuses(400, "name must be a text of one line", "invalid-declaration")
@blp.alt_response(201, schema=schemas.YearItem, description="It is new")
def put_year(code: str, year: str) -> ResponseReturnValue:
    """Say what a partner does in a school year; what the body leaves out is as if new."""
    is_new = acting.declare(code, "school_years", {**acting.object_body(), "year": year})
    return documents.part(code, "schoolYears", {"schoolYear": year}), 201 if is_new else 200


@blp.route("/<year>", methods=["DELETE"])
@blp.admits(roles=EDITORS)
@blp.response(204)
def remove_year(code: str, year: str) -> ResponseReturnValue:
    """Take a school year from a partner; jobs created in it run on."""
    missing = not_found(f"{code} has no school year {year}", "school-year-not-found")
    acting.end(code, missing, lambda connection: pruning.year(connection, code, year))
    return "", 204
