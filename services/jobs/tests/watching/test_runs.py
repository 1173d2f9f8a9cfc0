"""List runs and look at one."""

import re
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy import Engine, text

from common import database
from common.clock import rfc3339
from common.database import transaction
from jobs.engine import family, watching
from jobs.engine.watching import Filters
from stack.testing import Servers

MANY = text("""
    INSERT INTO run (id, job_id, partner, pool, status, holds_job, max_attempts, priority, payload, inputs,
        timeout_seconds, created_at, expires_at, finished_at, triggered_by, created_by, tags)
    SELECT gen_random_uuid(), :job, 'many', 'p', CASE WHEN n % 5000 = 0 THEN 'failed' ELSE 'completed' END,
        false, 1, 5, '{}', '{}', 1, now() - make_interval(secs => n), now(), now(), 'api', 'test',
        CASE WHEN n % 10000 = 0 THEN CAST('["rare"]' AS jsonb) ELSE CAST('[]' AS jsonb) END
    FROM generate_series(1, 20000) n
""")


@pytest.fixture(scope="module")
def many(engine: Engine, servers: Servers, database_name: str) -> str:
    """A partner with 20,000 runs of one job, as PostgreSQL's statistics know."""
    job, new = (
        uuid4(),
        text("INSERT INTO job (uid, partner, kind, spec) VALUES (:job, 'many', 'bundle', '{}')"),
    )
    owner = database.connect(servers.database_url("jobs_owner", database_name), "tests", pool_size=1)
    with owner.begin() as connection:
        connection.execute(new, {"job": job})
        connection.execute(MANY, {"job": job})
        connection.execute(text("ANALYZE run"))
    owner.dispose()
    return "many"


def paths_of_a_run(app: Flask) -> list[str]:
    """Everything a client may GET of a run."""
    rules = [rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or set())]
    return sorted(rule.rule for rule in rules if rule.rule.startswith("/v1/runs/<"))


def test_a_run_is_found_by_its_uuid_and_by_its_number(submit: Any, look: Any) -> None:
    run = submit(metadata={"a": "b"}, tags=("nightly",), payload={"n": 1})
    shown = look(f"/{run.id}")
    assert shown == look(f"/{run.number}")
    assert (shown["id"], shown["number"]) == (str(run.id), run.number)
    assert (shown["project_id"], shown["status"], shown["payload"]) == ("ea", "queued", {"n": 1})
    assert (shown["metadata"], shown["tags"]) == ({"a": "b"}, ["nightly"])


@pytest.mark.parametrize("name", ["nonsense", "-1", "1.5", "1" * 30, "%00", "%F0%9F%98%80", "0x10"])
def test_what_is_neither_a_uuid_nor_a_number_is_400(ask: Any, name: str) -> None:
    assert ask(f"/{name}").status_code == 400


def test_a_run_of_another_partner_is_not_found_at_any_address(app: Flask, worked: Any, ask: Any) -> None:
    run = worked("acme").run
    paths = paths_of_a_run(app)
    assert len(paths) >= 8
    for path in paths:
        for name in (str(run.id), str(run.number), str(uuid4()), "999999999999999999"):
            filled = re.sub("<.*?>", name, path, count=1).removeprefix("/v1/runs")
            assert ask(filled).status_code == 404, filled
        filled = re.sub("<.*?>", str(run.id), path, count=1).removeprefix("/v1/runs")
        assert ask(filled, partners=["acme"], scopes=["create:jobs"]).status_code == 403, filled
        assert ask(filled, partners=["acme"], kind="run").status_code == 403, filled


def test_a_list_needs_the_scope_and_a_partner_of_the_caller(ask: Any) -> None:
    assert ask("?partner=ea", scopes=["create:jobs"]).status_code == 403
    assert ask("?partner=ea", kind="run").status_code == 403
    assert ask("?partner=acme").status_code == 404
    assert ask("", partners=["ea", "acme"]).status_code == 400
    assert ask("", partners=["ea"]).status_code == 200
    assert ask("?partner=ea", kind="api-key").status_code == 200


def test_an_unchanged_answer_is_not_sent_again(app: Flask, submit: Any, ask: Any) -> None:
    run = submit()
    for path in ["", *(path.removeprefix("/v1/runs") for path in paths_of_a_run(app))]:
        target = re.sub("<.*?>", str(run.id), path, count=1)
        etag = ask(target).headers["ETag"]
        assert ask(target, headers={"If-None-Match": etag}).status_code == 304, target


def test_runs_are_listed_newest_first_and_lack_what_may_be_large(submit: Any, look: Any, walk: Any) -> None:
    tag = uuid4().hex
    made = [str(submit(tags=(tag,), payload={"n": 1}).id) for _ in range(5)]
    assert [item["id"] for item in walk("", f"tag={tag}&limit=2", by="cursor")] == made[::-1]
    [item] = look(f"?tag={tag}&limit=1")["items"]
    assert not {"payload", "result"} & item.keys()


def test_a_cursor_goes_on_where_it_was_while_runs_are_created(submit: Any, look: Any) -> None:
    tag = uuid4().hex
    made = [str(submit(tags=(tag,)).id) for _ in range(6)]
    listed, page = [], look(f"?tag={tag}&limit=2")
    while True:
        listed += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        submit(tags=(tag,))
        page = look(f"?tag={tag}&limit=2&cursor={page['next']}")
    assert listed == made[::-1]


def test_filters_choose_runs(submit: Any, look: Any, engine: Engine) -> None:
    tag = uuid4().hex
    first, second = submit(tags=(tag, "x")), submit(tags=(tag,))
    submit("acme", tags=(tag,))
    with transaction(engine) as connection:
        family.request_cancel(connection, second.id)

    def listed(query: str) -> set[str]:
        return {item["id"] for item in look(f"?tag={tag}&{query}")["items"]}

    assert listed("") == listed("partner=ea") == {str(first.id), str(second.id)}
    assert listed("status=queued") == listed(f"job={first.job_id}") == {str(first.id)}
    assert listed("status=canceled") == {str(second.id)}
    assert listed("status=failed") == listed(f"job={uuid4()}") == set()
    at = quote(rfc3339(second.created_at))
    assert str(second.id) not in listed(f"created_before={at}")
    assert str(first.id) not in listed(f"created_after={at}")
    assert listed("created_after=2020&created_before=2999") == {str(first.id), str(second.id)}
    assert listed("created_after=2999") == listed("created_before=2020") == set()


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("partner=", "partner query parameter is required"),
        ("partner=ea&partner=ea", "partner must be given once"),
        ("status=odd", "status must be one of delayed, queued"),
        ("status=queued&status=queued", "status must be given once"),
        ("job=odd", "job must be the uid of a job"),
        ("tag=%00", "tag must not hold NUL"),
        ("created_after=yesterday", "created_after must be a valid ISO 8601 timestamp"),
        ("created_before=", "created_before must be a valid ISO 8601 timestamp"),
        ("limit=0", "limit must be a whole number"),
        ("limit=1001", "limit must be a whole number"),
        ("cursor=odd", "cursor is not one of ours"),
        ("cursor=WyJ4IiwgInkiXQ", "cursor is not one of ours"),
    ],
)
def test_a_faulty_query_is_told(ask: Any, query: str, detail: str) -> None:
    answer = ask(f"?{query}")
    assert answer.status_code == 400, answer.text
    assert answer.get_json()["detail"].startswith(detail)


def test_children_are_listed_under_their_parent(submit: Any, rows: Any, look: Any, walk: Any) -> None:
    parent, children = submit(), [submit() for _ in range(3)]
    for child in children:
        rows("UPDATE run SET parent_run_id = :parent WHERE id = :id", parent=parent.id, id=child.id)
    shown = walk(f"/{parent.id}/children", "limit=2", by="cursor")
    assert [child["id"] for child in shown] == [str(child.id) for child in children[::-1]]
    assert {child["parent_run_id"] for child in shown} == {str(parent.id)}
    assert look(f"/{children[0].id}/children") == {"items": [], "next": None}


def test_what_a_run_shows_holds_no_secret_and_no_signed_url(submit: Any, rows: Any, ask: Any) -> None:
    run = submit(
        payload={"u": "http://s3/a?X-Amz-Signature=abc"}, metadata={"note": "Bearer abcdefghijklmnop"}
    )
    for target in (f"/{run.id}", "?limit=1"):
        shown = ask(target).get_data(as_text=True)
        assert "X-Amz-Signature" not in shown
        assert "abcdefghijklmnop" not in shown


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"status": "failed"},
        {"status": "executing"},
        {"tag": "rare"},
        {"tag": "none"},
        {"created_before": "2020-01-01T00:00Z"},
        {"created_after": "2999-01-01T00:00Z"},
        {"job": uuid4()},
        {"parent": uuid4()},
        {"after_at": "2026-01-01T00:00Z", "after_id": uuid4()},
    ],
)
def test_a_page_reads_no_more_than_a_page_of_many_runs(
    engine: Engine, many: str, asked: dict[str, Any]
) -> None:
    unasked = dict.fromkeys([*Filters.__dataclass_fields__, "after_at", "after_id"])
    values = {**unasked, "partner": many, "limit": 101, **asked}
    with transaction(engine) as connection:
        explain = text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {watching._NEWEST.text}")
        [plan] = connection.execute(explain, values).scalar_one()
    assert plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] < 500, plan
