"""The rows of schema `outputs` as values, and the statements more than one module needs.

output_set    what one lease of a run made; `published_at` is empty until the run's outcome names it a winner
output_file   its files in the order the executor declared them
outcome       how a run ended, once; `leftovers` are prefixes of objects still to be removed
publication_clock   the last instant given to a partner
school_year   the years jobs knows
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, Row, text

_SETS = """
    SELECT uid, run_id, lease, kind, s.name, sent_to_ods, sealed_at, published_at, partner,
           ARRAY(SELECT name FROM output_file f WHERE f.set_uid = s.uid ORDER BY position) AS names,
           ARRAY(SELECT size_bytes FROM output_file f WHERE f.set_uid = s.uid ORDER BY position) AS sizes,
           ARRAY(SELECT sha256 FROM output_file f WHERE f.set_uid = s.uid ORDER BY position) AS sha256s
    FROM output_set s
"""
_SET = text(_SETS + "WHERE uid = :uid")
_SET_BY_NAME = text(_SETS + "WHERE run_id = :run_id AND lease = :lease AND s.name = :name")
_SETS_OF_RUN = text(_SETS + "WHERE run_id = :run_id ORDER BY created_at, s.name")
_YEAR = text("SELECT EXISTS (SELECT FROM school_year WHERE code = :code)")
_ADD_YEARS = text("""
    INSERT INTO school_year (code) SELECT unnest(CAST(:codes AS text[])) ON CONFLICT (code) DO NOTHING
""")
_DROP_OTHER_YEARS = text("DELETE FROM school_year WHERE code <> ALL (CAST(:codes AS text[]))")


@dataclass(frozen=True, kw_only=True)
class OutputFile:
    """A file as its executor declared it; `sha256` is lower-case hex."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class OutputSet:
    """Files that belong together, made under one lease of a run. `partner` is known once it is published."""

    uid: UUID
    run_id: UUID
    lease: int
    kind: str
    name: str
    sent_to_ods: bool
    sealed_at: datetime | None
    published_at: datetime | None
    partner: str | None
    files: tuple[OutputFile, ...]

    @property
    def prefix(self) -> str:
        """Where its objects lie: the lease is part of it, so that leases never write over each other."""
        return f"{self.run_id}/{self.lease}/{self.uid}/"

    def key(self, file: OutputFile) -> str:
        return self.prefix + file.name


def find_set(connection: Connection, uid: UUID) -> OutputSet | None:
    row = connection.execute(_SET, {"uid": uid}).one_or_none()
    return _set(row) if row else None


def find_set_by_name(connection: Connection, run_id: UUID, lease: int, name: str) -> OutputSet | None:
    values = {"run_id": run_id, "lease": lease, "name": name}
    row = connection.execute(_SET_BY_NAME, values).one_or_none()
    return _set(row) if row else None


def sets_of_run(connection: Connection, run_id: UUID) -> list[OutputSet]:
    """List the sets of every lease of a run in the order they were made."""
    return [_set(row) for row in connection.execute(_SETS_OF_RUN, {"run_id": run_id})]


def _set(row: Row[tuple[object, ...]]) -> OutputSet:
    columns = dict(row._mapping)
    files = zip(columns.pop("names"), columns.pop("sizes"), columns.pop("sha256s"), strict=True)
    made = tuple(OutputFile(name=name, size_bytes=size, sha256=sha256) for name, size, sha256 in files)
    return OutputSet(**columns, files=made)


def is_known_year(connection: Connection, code: str) -> bool:
    return bool(connection.execute(_YEAR, {"code": code}).scalar_one())


def replace_years(connection: Connection, codes: Sequence[str]) -> None:
    """Make `codes` the known school years."""
    values = {"codes": list(codes)}
    connection.execute(_DROP_OTHER_YEARS, values)
    connection.execute(_ADD_YEARS, values)
