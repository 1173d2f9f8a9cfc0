"""Rosters: the students of a tenant in a school year. Personal data: nothing of it is ever said."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Engine, text

from common import ids
from common.database import transaction
from common.greenlets import apart
from common.logs import get_logger
from common.objects import ObjectStore, StorageUnavailable
from jobs.catalog import audit
from jobs.catalog.audit import Actor
from jobs.catalog.tables import Roster

MAX_BYTES = 64 * 1024 * 1024
MAX_FAULTS = 20

_COLUMNS = "partner, tenant, school_year, object_key, sha256, size_bytes, created_at"
_OF_PARTNER = text(f"SELECT {_COLUMNS} FROM roster WHERE partner = :partner ORDER BY tenant, school_year")  # noqa: S608
_ONE = text(
    f"SELECT {_COLUMNS} FROM roster"  # noqa: S608 (our own constant)
    " WHERE partner = :partner AND tenant = :tenant AND school_year = :school_year FOR UPDATE"
)
_PUT = text(f"""
    INSERT INTO roster (partner, tenant, school_year, object_key, sha256, size_bytes)
    VALUES (:partner, :tenant, :school_year, :object_key, :sha256, :size_bytes)
    ON CONFLICT (partner, tenant, school_year) DO UPDATE
    SET object_key = excluded.object_key, sha256 = excluded.sha256, size_bytes = excluded.size_bytes,
        created_at = now()
    RETURNING {_COLUMNS}
""")  # noqa: S608 (our own constant)
_REMOVE = text(
    "DELETE FROM roster WHERE partner = :partner AND tenant = :tenant AND school_year = :school_year"
)
_PLACE = text("""
    SELECT EXISTS (SELECT FROM tenant WHERE partner = :partner AND code = :tenant AND retired_at IS NULL)
               AS has_tenant,
           EXISTS (SELECT FROM school_year WHERE code = :school_year) AS knows_year
""")


class RosterFaulty(Exception):
    """A roster cannot be used. Its faults name lines and members, never what stands there."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(["The roster is not usable:", *(f"  - {fault}" for fault in faults)]))


class PlaceUnknown(Exception):
    """There is no such tenant, or the school year is not known; `rule` and `field` say which."""

    def __init__(self, rule: str, field: str, sentence: str) -> None:
        self.rule = rule
        self.field = field
        super().__init__(sentence)


def check(content: bytes) -> int:
    """Count the students of a JSONL roster, or raise RosterFaulty naming the first faulty lines."""
    if len(content) > MAX_BYTES:
        raise RosterFaulty([f"it is larger than {MAX_BYTES // 1024 // 1024} MB"])
    faults: list[str] = []
    students = 0
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.strip():
            students += 1
            faults += (f"line {number}: {fault}" for fault in _line_faults(line))
            if len(faults) >= MAX_FAULTS:
                raise RosterFaulty([*faults[:MAX_FAULTS], "perhaps more: reading stopped here"])
    if not students:
        faults.append("it holds no student")
    if faults:
        raise RosterFaulty(faults)
    return students


def _examined(content: bytes) -> tuple[int, str]:
    return check(content), hashlib.sha256(content).hexdigest()


def _line_faults(line: bytes) -> Iterator[str]:
    try:
        student = json.loads(line)
    except (ValueError, RecursionError):
        student = None
    if not isinstance(student, dict):
        yield "must be a JSON object"
        return
    organization = _opened(student.get("educationOrganizationReference"))
    if not (isinstance(organization, dict) and organization):
        yield "educationOrganizationReference must be an object"
    reference = _opened(student.get("studentReference"))
    if not (isinstance(reference, dict) and _is_id(reference.get("studentUniqueId"))):
        yield "studentReference.studentUniqueId must be a text or a number"
    codes = _opened(student.get("studentIdentificationCodes"))
    if not (isinstance(codes, list) and all(_is_code(each) for each in codes)):
        yield (
            "studentIdentificationCodes must be a list of objects with"
            " studentIdentificationSystemDescriptor and identificationCode"
        )


def _opened(value: Any) -> Any:
    """Read JSON that stands in a text: exports from warehouses have it so."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _is_id(value: Any) -> bool:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return is_number or (isinstance(value, str) and bool(value.strip()))


def _is_code(value: Any) -> bool:
    members = ("studentIdentificationSystemDescriptor", "identificationCode")
    return isinstance(value, dict) and all(_is_id(value.get(name)) for name in members)


def upload_key(partner: str, tenant: str, year: str, upload: str) -> str:
    """Name the object a roster is uploaded to before it is checked."""
    return f"roster-uploads/{partner}/{tenant}/{year}/{upload}.jsonl"


def require_place(connection: Connection, partner: str, tenant: str, year: str) -> None:
    """Raise PlaceUnknown unless the tenant is there and the year is known."""
    values = {"partner": partner, "tenant": tenant, "school_year": year}
    found = connection.execute(_PLACE, values).one()
    if not found.has_tenant:
        sentence = f"Invalid tenant. {partner}/{tenant} does not exist"
        raise PlaceUnknown("tenant-not-found", "tenant", sentence)
    if not found.knows_year:
        raise PlaceUnknown("school-year-not-found", "schoolYear", f"Invalid school year: {year}")


def keep(
    engine: Engine, store: ObjectStore, content: bytes, *, partner: str, tenant: str, year: str, actor: Actor
) -> tuple[Roster, int]:
    """Check a roster, store it and make it the one of its tenant and year; the one before is deleted.

    Returns the roster and how many students it holds. Raises RosterFaulty, PlaceUnknown.
    """
    students, digest = apart(_examined, content)
    place = {"partner": partner, "tenant": tenant, "school_year": year}
    with transaction(engine) as connection:
        require_place(connection, partner, tenant, year)
    key = f"rosters/{partner}/{tenant}/{year}/{ids.new_uid()}.jsonl"
    store.write(key, content, content_type="application/x-ndjson")
    with transaction(engine) as connection:
        before = connection.execute(_ONE, place).one_or_none()
        values = {**place, "object_key": key, "sha256": digest, "size_bytes": len(content)}
        made = Roster(**connection.execute(_PUT, values).one()._mapping)
        noted = {"sha256": digest, "size_bytes": len(content), "students": students}
        audit.record(connection, actor, "roster.put", f"{partner}/{tenant} {year}", **noted)
    if before is not None:
        _discard(store, before.object_key)
    return made, students


def remove(engine: Engine, store: ObjectStore, *, partner: str, tenant: str, year: str, actor: Actor) -> bool:
    """Delete a roster, row and object; tells whether there was one."""
    place = {"partner": partner, "tenant": tenant, "school_year": year}
    with transaction(engine) as connection:
        stored = connection.execute(_ONE, place).one_or_none()
        if stored is None:
            return False
        connection.execute(_REMOVE, place)
        audit.record(connection, actor, "roster.removed", f"{partner}/{tenant} {year}", sha256=stored.sha256)
    _discard(store, stored.object_key)
    return True


def list_of(connection: Connection, partner: str) -> list[Roster]:
    """List a partner's rosters: where and how large they are, not what is in them."""
    return [Roster(**row._mapping) for row in connection.execute(_OF_PARTNER, {"partner": partner})]


def _discard(store: ObjectStore, key: str) -> None:
    try:
        store.remove_under(key)
    except StorageUnavailable:  # the row is gone or replaced: nothing leads to the object any more
        get_logger().warning("roster_object_left_behind", object_key=key)
