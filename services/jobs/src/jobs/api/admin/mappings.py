"""Manage descriptor mappings: a tenant's own files in the place of a bundle's."""

from typing import Any

from flask import request
from flask.typing import ResponseReturnValue

from common.api import Blueprint
from common.database import transaction
from common.problems import not_found
from jobs.api.admin import acting, schemas
from jobs.api.admin.acting import EDITORS, READERS, REFUSALS
from jobs.api.external.conditional import answer
from jobs.catalog import mappings, partners
from jobs.catalog.metadata import KEY
from jobs.services import services

blp = Blueprint(
    "admin-mappings",
    __name__,
    url_prefix="/api/v1/admin/partners/<code>/tenants/<tenant>/bundles/<group>/<name>/descriptor-mappings",
    faulty_status=400,
    tag="Administration",
    refusals=REFUSALS,
)
_CSV = {"required": True, "content": {"text/csv": {"schema": {"type": "string"}}}}


@blp.route("", methods=["GET"])
@blp.admits(roles=READERS)
@blp.conditional
@blp.response(200, schemas.MappingItem(many=True))
def list_mappings(code: str, tenant: str, group: str, name: str) -> ResponseReturnValue:
    """List the mappings a bundle lists, and which of them the tenant has of its own."""
    bundle = _bundle(code, tenant, group, name)
    with transaction(services().engine) as connection:
        acting.require_partner(connection, code)
        listed = mappings.names_of(connection, bundle)
        own = {each.name: each.sha256 for each in partners.mappings_of(connection, code, tenant, bundle)}
    names = [*listed, *(each for each in own if each not in listed)]
    return answer([{"name": each, "sha256": own.get(each)} for each in names])


@blp.route("/<file>", methods=["PUT"])
@blp.admits(roles=EDITORS)
@blp.doc(requestBody=_CSV)
@blp.refuses(400, "The mapping is not CSV in UTF-8", "mapping-faulty")
@blp.refuses(400, "assessments/PSAT_SAT has no descriptor mapping a.csv: it lists none", "mapping-not-listed")
@blp.refuses(404, "Invalid tenant. ea/north does not exist", "tenant-not-found")
@blp.response(200, schemas.MappingItem)
def put_mapping(code: str, tenant: str, group: str, name: str, file: str) -> Any:
    """Put a mapping, CSV with a header; runs claimed from now on use it. Its name is one the bundle lists."""
    made = mappings.keep(
        services().engine,
        services().store,
        request.get_data(),
        partner=code,
        tenant=tenant,
        bundle=_bundle(code, tenant, group, name),
        name=file,
        actor=acting.actor(),
    )
    return {"name": made.name, "sha256": made.sha256}


@blp.route("/<file>", methods=["DELETE"])
@blp.admits(roles=EDITORS)
@blp.refuses(404, "ea/ea has no mapping a.csv for assessments/PSAT_SAT", "mapping-not-found")
@blp.response(204)
def remove_mapping(code: str, tenant: str, group: str, name: str, file: str) -> ResponseReturnValue:
    """Go back to the bundle's own mapping."""
    bundle = _bundle(code, tenant, group, name)
    place = {"partner": code, "tenant": tenant, "bundle": bundle, "name": file}
    with transaction(services().engine) as connection:
        if "\0" in file or not mappings.remove(connection, **place, actor=acting.actor()):
            raise not_found(f"{code}/{tenant} has no mapping {file} for {bundle}", "mapping-not-found")
    return "", 204


def _bundle(code: str, tenant: str, group: str, name: str) -> str:
    acting.require_place(code, tenant)
    key = f"{group}/{name}"
    if not KEY.fullmatch(key):
        raise not_found(f"There is no bundle {key}", "bundle-not-found")
    return key
