"""Descriptor mappings: files of a tenant that take the place of those a bundle brings."""

import csv
import hashlib
import io
from typing import Any

from sqlalchemy import Connection, Engine, text

from common.database import transaction
from common.greenlets import apart
from common.objects import ObjectStore
from jobs.catalog import audit
from jobs.catalog.audit import Actor
from jobs.catalog.rosters import PlaceUnknown
from jobs.catalog.tables import StoredFile

MAX_BYTES = 1024 * 1024

_NAMES = text("""
    SELECT v.metadata -> 'descriptor_mapping_files' AS names
    FROM bundle b JOIN bundle_version v ON v.id = b.current_version_id
    WHERE b.key = :bundle
""")
_TENANT = text(
    "SELECT EXISTS (SELECT FROM tenant WHERE partner = :partner AND code = :tenant AND retired_at IS NULL)"
)
_PUT = text("""
    INSERT INTO descriptor_mapping (partner, tenant, bundle_key, file_name, object_key, sha256)
    VALUES (:partner, :tenant, :bundle, :name, :object_key, :sha256)
    ON CONFLICT (partner, tenant, bundle_key, file_name) DO UPDATE
    SET object_key = excluded.object_key, sha256 = excluded.sha256, created_at = now()
""")
_REMOVE = text("""
    DELETE FROM descriptor_mapping
    WHERE partner = :partner AND tenant = :tenant AND bundle_key = :bundle AND file_name = :name
""")


class MappingFaulty(Exception):
    """A descriptor mapping cannot be used."""


class MappingNotListed(Exception):
    """The bundle's metadata does not list a descriptor mapping of this name; `names` are those it lists."""

    def __init__(self, bundle: str, name: str, names: list[str]) -> None:
        self.names = names
        listed = f"it lists {', '.join(names)}" if names else "it lists none"
        super().__init__(f"{bundle} has no descriptor mapping {name}: {listed}")


def check(content: bytes) -> None:
    """Raise MappingFaulty unless it is CSV with a header and rows of its width."""
    if len(content) > MAX_BYTES:
        raise MappingFaulty(f"The mapping is larger than {MAX_BYTES // 1024} KB")
    try:
        rows = [row for row in csv.reader(io.StringIO(content.decode("utf-8-sig")), strict=True) if row]
    except (UnicodeDecodeError, csv.Error):
        raise MappingFaulty("The mapping is not CSV in UTF-8") from None
    if len(rows) < 2 or len(rows[0]) < 2:
        raise MappingFaulty("The mapping needs a header of two or more columns, and rows")
    odd = [number for number, row in enumerate(rows, start=1) if len(row) != len(rows[0])]
    if odd:
        raise MappingFaulty(f"The mapping's row {odd[0]} has not as many values as its header")


def names_of(connection: Connection, bundle: str) -> list[str]:
    """List the names a bundle's metadata gives; none for a bundle that was not imported."""
    found = connection.execute(_NAMES, {"bundle": bundle}).one_or_none()
    return [str(name) for name in found.names or []] if found else []


def keep(
    engine: Engine,
    store: ObjectStore,
    content: bytes,
    *,
    partner: str,
    tenant: str,
    bundle: str,
    name: str,
    actor: Actor,
) -> StoredFile:
    """Check a mapping, store it and use it from the next run on.

    Raises MappingFaulty, MappingNotListed, PlaceUnknown.
    """
    apart(check, content)
    digest = hashlib.sha256(content).hexdigest()
    with transaction(engine) as connection:
        _require(connection, partner, tenant, bundle, name)
    key = f"descriptor-mappings/{partner}/{tenant}/{digest}.csv"
    store.write(key, content, content_type="text/csv")
    place: dict[str, Any] = {"partner": partner, "tenant": tenant, "bundle": bundle, "name": name}
    with transaction(engine) as connection:
        connection.execute(_PUT, {**place, "object_key": key, "sha256": digest})
        audit.record(connection, actor, "mapping.put", _subject(**place), sha256=digest)
    return StoredFile(name=name, object_key=key, sha256=digest)


def remove(
    connection: Connection, *, partner: str, tenant: str, bundle: str, name: str, actor: Actor
) -> bool:
    """Go back to the bundle's own file; tells whether there was another."""
    place = {"partner": partner, "tenant": tenant, "bundle": bundle, "name": name}
    removed = connection.execute(_REMOVE, place).rowcount > 0
    if removed:
        audit.record(connection, actor, "mapping.removed", _subject(**place))
    return removed


def _require(connection: Connection, partner: str, tenant: str, bundle: str, name: str) -> None:
    if not connection.execute(_TENANT, {"partner": partner, "tenant": tenant}).scalar_one():
        sentence = f"Invalid tenant. {partner}/{tenant} does not exist"
        raise PlaceUnknown("tenant-not-found", "tenant", sentence)
    names = names_of(connection, bundle)
    if name not in names:
        raise MappingNotListed(bundle, name, names)


def _subject(partner: str, tenant: str, bundle: str, name: str) -> str:
    return f"{partner}/{tenant} {bundle} {name}"
