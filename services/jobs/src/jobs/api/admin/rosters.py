"""Manage rosters. They are personal data: they come in, and only executors of a run get them."""

from typing import Any

from flask import request
from flask.typing import ResponseReturnValue

from common import ids
from common.api import Blueprint
from common.database import transaction
from common.problems import bad_request, not_found
from jobs.api.admin import acting, documents, schemas
from jobs.api.admin.acting import EDITORS, READERS, REFUSALS
from jobs.api.external.conditional import answer
from jobs.catalog import rosters
from jobs.catalog.rosters import RosterFaulty
from jobs.services import services

blp = Blueprint(
    "admin-rosters",
    __name__,
    url_prefix="/api/v1/admin/partners/<code>",
    faulty_status=400,
    tag="Administration",
    refusals=REFUSALS,
)
_ONE = "/tenants/<tenant>/rosters/<year>"
_BODIES = {
    "application/x-ndjson": {"schema": {"type": "string", "description": "the roster, up to 1 MiB"}},
    "application/json": {
        "schema": {
            "type": "object",
            "properties": {"uploadUid": {"type": "string", "format": "uuid"}},
            "required": ["uploadUid"],
        }
    },
}


@blp.route("/rosters", methods=["GET"])
@blp.admits(roles=READERS)
@blp.conditional
@blp.response(200, schemas.RosterItem(many=True))
def list_rosters(code: str) -> ResponseReturnValue:
    """List the rosters of a partner: where each belongs, how large it is, its digest."""
    with transaction(services().engine) as connection:
        acting.require_partner(connection, code)
        found = rosters.list_of(connection, code)
    return answer([documents.roster(each) for each in found])


@blp.route(f"{_ONE}/uploads", methods=["POST"])
@blp.admits(roles=EDITORS)
@blp.refuses(404, "Invalid tenant. ea/north does not exist", "tenant-not-found")
@blp.refuses(404, "Invalid school year: 2050", "school-year-not-found")
@blp.response(201, schemas.RosterUpload)
def upload_roster(code: str, tenant: str, year: str) -> Any:
    """Get a URL to upload a roster of any size to; when it is there, register it with PUT."""
    acting.require_place(code, tenant, year)
    with transaction(services().engine) as connection:
        rosters.require_place(connection, code, tenant, year)
    uid = str(ids.new_uid())
    url = services().store.presign_put(rosters.upload_key(code, tenant, year, uid))
    return {"uploadUid": uid, "uploadUrl": url}


@blp.route(_ONE, methods=["PUT"])
@blp.admits(roles=EDITORS)
@blp.doc(requestBody={"required": True, "content": _BODIES})
@blp.refuses(400, "The roster is not usable", "roster-faulty")
@blp.refuses(400, "The roster was not uploaded", "roster-not-uploaded")
@blp.refuses(404, "Invalid tenant. ea/north does not exist", "tenant-not-found")
@blp.refuses(404, "Invalid school year: 2050", "school-year-not-found")
@blp.response(200, schemas.RosterItem)
def put_roster(code: str, tenant: str, year: str) -> Any:
    """Put the roster of a tenant and school year; it takes the place of the one before.

    The body is the roster itself, JSONL, or `{"uploadUid": …}` as JSON to register one that was uploaded. One
    student a line: `educationOrganizationReference`, `studentReference.studentUniqueId`,
    `studentIdentificationCodes[]`.
    """
    upload = _upload(code, tenant, year) if request.is_json else None
    acting.require_place(code, tenant, year)
    content = _uploaded(upload) if upload else request.get_data()
    made, students = rosters.keep(
        services().engine,
        services().store,
        content,
        partner=code,
        tenant=tenant,
        year=year,
        actor=acting.actor(),
    )
    if upload:
        services().store.remove_under(upload)
    return {**documents.roster(made), "students": students}


def _upload(code: str, tenant: str, year: str) -> str:
    uid = ids.parse_uuid(str(acting.object_body().get("uploadUid")))
    if uid is None:
        message = "uploadUid must be the uid of an upload; send a roster itself as application/x-ndjson"
        raise bad_request(message, "invalid-input", {"uploadUid": [message]})
    return rosters.upload_key(code, tenant, year, str(uid))


def _uploaded(key: str) -> bytes:
    stored = services().store.look_up(key)
    if stored is None:
        raise bad_request("The roster was not uploaded", "roster-not-uploaded")
    if stored.size_bytes > rosters.MAX_BYTES:
        raise RosterFaulty([f"it is larger than {rosters.MAX_BYTES // 1024 // 1024} MB"])
    return services().store.read(key)


@blp.route(_ONE, methods=["DELETE"])
@blp.admits(roles=EDITORS)
@blp.refuses(404, "ea/ea has no roster in 2026", "roster-not-found")
@blp.response(204)
def remove_roster(code: str, tenant: str, year: str) -> ResponseReturnValue:
    """Delete a roster, also of a tenant that is retired."""
    acting.require_place(code, tenant, year)
    place = {"partner": code, "tenant": tenant, "year": year}
    if not rosters.remove(services().engine, services().store, **place, actor=acting.actor()):
        raise not_found(f"{code}/{tenant} has no roster in {year}", "roster-not-found")
    return "", 204
