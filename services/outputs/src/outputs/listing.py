"""The list of published sets, read by keyset on (partner, published_at) and written as it is read."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, text

from common.clock import rfc3339
from common.database import transaction
from outputs.publication import read_clock
from outputs.query import EARLIEST, Query, unknown_year
from outputs.tables import is_known_year

BATCH = 1000

PUBLISHED = text("""
    SELECT CAST(uid AS text) AS uid,
           ARRAY(SELECT name FROM output_file f WHERE f.set_uid = s.uid ORDER BY position) AS files,
           sent_to_ods, published_at, CAST(job_uid AS text) AS job_uid, partner, tenant, school_year, bundle
    FROM output_set s
    WHERE partner = :partner AND kind = 'result' AND published_at > :after AND published_at <= :until
      AND (CAST(:sent_to_ods AS boolean) IS NULL OR sent_to_ods = :sent_to_ods)
      AND (CAST(:school_year AS text) IS NULL OR school_year = :school_year)
      AND (CAST(:tenant AS text) IS NULL OR tenant = :tenant)
      AND (CAST(:bundle AS text) IS NULL OR bundle = :bundle)
    ORDER BY published_at
    LIMIT :count
""")
# The keys of an item, in the order of the columns above.
KEYS = ("uid", "files", "sentToOds", "createdAt", "jobUid", "partner", "tenant", "schoolYear", "bundle")
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
Published = Row[tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True)
class Opening:
    """The start of a list: the partner's clock, up to which it goes, and its first rows."""

    until: datetime
    rows: Sequence[Published]


def read_until(connection: Connection, query: Query) -> datetime:
    """Read the partner's clock: the list goes up to it, and is whole up to it.

    Raises a 400 when the query names a school year that is not known.
    """
    if query.school_year and not is_known_year(connection, query.school_year):
        raise unknown_year(query.school_year)
    return read_clock(connection, query.partner) or EARLIEST


def read_rows(
    connection: Connection, query: Query, after: datetime, until: datetime, count: int
) -> Sequence[Published]:  # fmt: skip
    """Read the next sets published strictly after one instant and up to another."""
    values = {
        "partner": query.partner,
        "after": after,
        "until": until,
        "sent_to_ods": query.sent_to_ods,
        "school_year": query.school_year,
        "tenant": query.tenant,
        "bundle": query.bundle,
        "count": count,
    }
    return connection.execute(PUBLISHED, values).all()


def etag(query: Query, until: datetime) -> str:
    """Hash what decides a list's content: published sets never change, and none goes in before the clock."""
    words = [str(word) for word in (*astuple(query), until)]
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:32]


def write_page(rows: Sequence[Published]) -> bytes:
    """Write one page as a whole array."""
    return b"[" + _write(rows) + b"]"


def write_all(engine: Engine, query: Query, opening: Opening) -> Iterator[bytes]:
    """Write the whole list a batch at a time, each batch read in a transaction of its own.

    The array is closed only when everything was written: an error on the way leaves it open.
    """
    rows = opening.rows
    yield b"["
    yield _write(rows)
    while len(rows) == BATCH:
        with transaction(engine) as connection:
            rows = read_rows(connection, query, rows[-1].published_at, opening.until, BATCH)
        if rows:
            yield b"," + _write(rows)
    yield b"]"


def _write(rows: Sequence[Published]) -> bytes:
    return ",".join(_write_item(row) for row in rows).encode()


def _write_item(row: Published) -> str:
    uid, files, sent_to_ods, published_at, *labels = tuple[Any, ...](row)
    values = (uid, files, sent_to_ods, rfc3339(published_at), *labels)
    return _JSON.encode(dict(zip(KEYS, values, strict=True)))
