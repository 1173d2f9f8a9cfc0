"""How the list is read: pages, entity tags, streams that stay small and are never closed by an error."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from common import principal
from outputs.listing import BATCH, PUBLISHED
from stack.ports import free_port
from stack.testing import Servers

LIST = "/api/v1/output-sets"


def test_pages_lead_to_each_other_and_end(door: Any, partner: str, new_work: Any) -> None:
    made = [new_work().published() for _ in range(5)]
    target: str | None = f"{LIST}?partner={partner}&tenant=east&limit=2"
    pages = []
    while target:
        answer = door.get(target, partner)
        pages.append([item["uid"] for item in answer.json])
        link = answer.headers.get("Link")
        assert link is None or (link.startswith("</api/v1/") and link.endswith('>; rel="next"'))
        target = link and link[1 : link.index(">")]
    assert pages == [made[:2], made[2:4], made[4:]]


def test_a_cursor_without_a_limit_lists_the_rest(door: Any, partner: str, new_work: Any) -> None:
    made = [new_work().published() for _ in range(3)]
    link = door.get(f"{LIST}?partner={partner}&limit=1", partner).headers["Link"]
    cursor = link.partition("cursor=")[2].partition(">")[0]
    answer = door.get(f"{LIST}?partner={partner}&cursor={cursor}", partner)
    assert [item["uid"] for item in answer.json] == made[1:]


def test_an_entity_tag_holds_until_the_next_publication(door: Any, partner: str, new_work: Any) -> None:
    target = f"{LIST}?partner={partner}"
    tags = [door.get(target, partner).headers["ETag"]]
    for _ in range(2):
        new_work().published()
        tags.append(door.get(target, partner).headers["ETag"])
        answer = door.get(target, partner, headers={"If-None-Match": tags[-1]})
        assert (answer.status_code, answer.data, answer.headers["ETag"]) == (304, b"", tags[-1])
        stale = door.get(target, partner, headers={"If-None-Match": f"{tags[0]}, {tags[-2]}"})
        assert stale.status_code == 200
    assert len(set(tags)) == 3
    assert all(tag.startswith('W/"') for tag in tags)


def test_entity_tags_of_different_queries_differ(door: Any, partner: str) -> None:
    queries = ("", "&tenant=a", "&bundle=a", "&sentToOds=true", "&limit=5", "&createdAfter=2026")
    tags = {door.get(f"{LIST}?partner={partner}{query}", partner).headers["ETag"] for query in queries}
    assert len(tags) == len(queries)


def test_a_long_list_is_streamed_in_constant_memory(door: Any, crowd: str) -> None:
    answer = door.get(f"{LIST}?partner={crowd}", crowd, buffered=False)
    pieces = answer.iter_encoded()
    items = sum(next(pieces).count(b'"uid"') for _ in range(20))
    settled_bytes = highest_bytes = resident_bytes()
    for piece in pieces:
        items += piece.count(b'"uid"')
        highest_bytes = max(highest_bytes, resident_bytes())
    assert items == 200_000
    assert highest_bytes - settled_bytes < 8 * 1024 * 1024  # the whole list is 60 MB


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_no_database_connection_is_held_between_batches(door: Any, crowd: str, engine: Engine) -> None:
    answer = door.get(f"{LIST}?partner={crowd}", crowd, buffered=False)
    pieces = answer.iter_encoded()
    for _ in range(4):
        next(pieces)
        assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    answer.close()


def test_a_stream_ends_at_the_clock_it_began_with(door: Any, crowd: str, owner_engine: Engine) -> None:
    answer = door.get(f"{LIST}?partner={crowd}&tenant=tenant-3", crowd, buffered=False)
    pieces = answer.iter_encoded()
    opening = b"".join([next(pieces), next(pieces)])
    with owner_engine.begin() as connection:
        connection.execute(text(LATER), {"partner": crowd})
    try:
        items = json.loads(opening + b"".join(pieces))
    finally:
        with owner_engine.begin() as connection:
            connection.execute(text("DELETE FROM output_set WHERE name = 'later'"))
    assert len(items) == 20_000
    assert sorted(items, key=lambda item: item["createdAt"]) == items


LATER = """
    INSERT INTO output_set (uid, run_id, lease, kind, name, sent_to_ods, sealed_at, published_at, job_uid,
                            partner, tenant, school_year, bundle)
    VALUES (gen_random_uuid(), gen_random_uuid(), 1, 'result', 'later', false, now(), '2027-01-01',
            gen_random_uuid(), :partner, 'tenant-3', '2026', 'assessments/PSAT_SAT')
"""


@pytest.mark.parametrize("filters", [{}, {"tenant": "tenant-3"}, {"school_year": "2026"}])
def test_the_list_reads_its_index_whatever_the_filter(
    engine: Engine, crowd: str, filters: dict[str, str]
) -> None:
    values = dict.fromkeys(("sent_to_ods", "tenant", "school_year", "bundle"))
    values |= {"partner": crowd, "after": "2026-01-01", "until": "2027-01-01", "count": BATCH, **filters}
    with engine.connect() as connection:
        plan = "\n".join(row[0] for row in connection.execute(text(f"EXPLAIN {PUBLISHED}"), values))
    assert "output_set_published" in plan
    assert "Sort Key: s.published_at" not in plan


@contextmanager
def served(servers: Servers, database_url: str) -> Iterator[int]:
    """Run the service under gunicorn as in production, in one worker."""
    access = servers.s3("outputs")
    port = free_port()
    environment = {
        **os.environ,
        "PORT": str(port),
        "WEB_WORKERS": "1",
        "WEB_THREADS": "2",
        "DATABASE_URL": database_url,
        "S3_URL": access.url,
        "S3_PUBLIC_URL": access.public_url,
        "S3_BUCKET": access.bucket,
        "S3_ACCESS_KEY": access.access_key,
        "S3_SECRET_KEY": access.secret_key,
        "SIGNATURE_KEYS": f"test:{(b'k' * 32).hex()}",
    }
    command = [sys.executable, "-m", "gunicorn", "-c", "python:common.serving", "outputs.wsgi:build()"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_ready(f"http://127.0.0.1:{port}/readyz")
        yield port
    finally:
        process.terminate()
        process.wait(15)


def wait_ready(url: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if urllib3.request("GET", url, timeout=2, retries=False).status == 200:
                return
        except urllib3.exceptions.HTTPError:
            time.sleep(0.05)
    raise TimeoutError(url)


def test_a_failure_on_the_way_cuts_the_connection_and_never_closes_the_array(
    servers: Servers, database_urls: dict[str, str], owner_engine: Engine, crowd: str, reader: Any
) -> None:
    target = f"{LIST}?partner={crowd}"
    headers = principal.signed_headers(reader(crowd), "GET", target, {"test": b"k" * 32}, int(time.time()))
    with served(servers, database_urls["outputs"]) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", target, headers=headers)
        answer = connection.getresponse()
        assert (answer.status, answer.read(1)) == (200, b"[")
        with table_away(owner_engine), pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
        connection.close()


def test_a_failed_stream_leaves_its_array_open(door: Any, crowd: str, owner_engine: Engine) -> None:
    pieces = door.get(f"{LIST}?partner={crowd}", crowd, buffered=False).iter_encoded()
    got = [next(pieces), next(pieces)]
    with table_away(owner_engine), pytest.raises(ProgrammingError):
        got.extend(pieces)
    assert b"".join(got).endswith(b"}")


@contextmanager
def table_away(owner_engine: Engine) -> Iterator[None]:
    with owner_engine.begin() as connection:
        connection.execute(text("ALTER TABLE output_set RENAME TO output_set_away"))
    try:
        yield
    finally:
        with owner_engine.begin() as connection:
            connection.execute(text("ALTER TABLE output_set_away RENAME TO output_set"))
