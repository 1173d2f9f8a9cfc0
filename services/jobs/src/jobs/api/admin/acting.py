"""Who manages, and one way for every change: what a body says is a declaration like a file's."""

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Connection

from common.api import current_principal
from common.database import lock, transaction
from common.problems import Problem, bad_request, not_found
from jobs.api.external.bodies import json_body
from jobs.catalog import changes, declarations, partners, provisioning
from jobs.catalog.audit import Actor
from jobs.catalog.changes import ADDED, REMOVED, Change
from jobs.catalog.declared import DeclarationFaulty
from jobs.services import services

EDITORS = ("Editor", "Administrator")
READERS = ("Viewer", *EDITORS)
REFUSALS = ((403, "This needs the role Editor or Administrator", "missing-role"),)


def actor() -> Actor:
    """The caller at hand, as the audit knows it."""
    caller = current_principal()
    return Actor(
        name=f"{caller.kind}:{caller.client_id or caller.subject}", place=caller.issuer or "the gateway"
    )


def object_body() -> dict[str, Any]:
    """Read the body, which must be a JSON object; none is an empty one."""
    body = json_body()
    if not isinstance(body, dict):
        raise bad_request("The body must be a JSON object", "invalid-input")
    return body


def declare(code: str, part: str, item: dict[str, Any]) -> bool:
    """Bring one part of a partner to what `item` says; tells whether it is new. Faults are the item's own."""
    return _provision({"code": code, part: [item]}, f"partners[0].{part}[0]", requires=code)


def declare_partner(code: str, item: dict[str, Any]) -> bool:
    """Bring a partner to what `item` says; tells whether it is new."""
    return _provision({**item, "code": code}, "partners[0]", requires=None)


def _provision(document: dict[str, Any], place: str, *, requires: str | None) -> bool:
    try:
        declared = declarations.read_document({"partners": [document]}, None)
    except DeclarationFaulty as error:
        raise error.within(place) from None
    with transaction(services().engine) as connection:
        if requires is not None:
            require_partner(connection, requires)
        plan = provisioning.provision(connection, declared, services().sealer, actor=actor())
    services().nudge.deliveries()
    signs = {change.sign for change in plan if change.noun != "school year"}
    return ADDED in signs and REMOVED not in signs


def end(code: str, missing: Problem, plan: Callable[[Connection], Iterator[Change]]) -> None:
    """Make a plan that ends something of a partner, or raise `missing` when there is nothing to end."""
    if not declarations.CODE.fullmatch(code):
        raise missing
    with transaction(services().engine) as connection:
        lock(connection, "provisioning")
        planned = list(plan(connection))
        if not planned:
            raise missing
        changes.apply(connection, planned, actor())


def require_partner(connection: Connection, code: str) -> None:
    """Raise 404 unless there is such a partner."""
    if not declarations.CODE.fullmatch(code) or partners.find(connection, code) is None:
        raise missing_partner(code)


def missing_partner(code: str) -> Problem:
    return not_found(f"Partner not found: {code}", "partner-not-found")


def require_place(code: str, tenant: str, year: str = "") -> None:
    """Raise 404 for what cannot be the codes of a partner, a tenant and a year."""
    fits = declarations.CODE.fullmatch(code) and declarations.CODE.fullmatch(tenant)
    if not fits or (year and not declarations.YEAR.fullmatch(year)):
        raise not_found(f"There is no tenant {code}/{tenant} {year}".rstrip(), "tenant-not-found")
