"""The rules of GET /api/v1/output-sets, each by name (external-api.md §3)."""

import re
from typing import Any
from urllib.parse import quote

import pytest

LIST = "/api/v1/output-sets"
FAULTS = [
    ("colour=red", 400, "partner query parameter is required"),
    ("partner=", 400, "partner query parameter is required"),
    ("partner=PARTNER&sentToOds=yes", 400, 'sentToOds must be "true" or "false"'),
    ("partner=PARTNER&sentToOds=TRUE", 400, 'sentToOds must be "true" or "false"'),
    ("partner=PARTNER&sentToOds=", 400, 'sentToOds must be "true" or "false"'),
    ("partner=PARTNER&createdAfter=yesterday", 400, "createdAfter must be a valid ISO 8601 timestamp"),
    ("partner=PARTNER&createdAfter=", 400, "createdAfter must be a valid ISO 8601 timestamp"),
    ("partner=PARTNER&schoolYear=26", 400, 'schoolYear must be a 4-digit end year, e.g. "2026"'),
    ("partner=PARTNER&schoolYear=%D9%A2%D9%A0%D9%A2%D9%A6", 400, "schoolYear must be a 4-digit end year"),
    ("partner=PARTNER&schoolYear=1999", 400, "Unknown school year: 1999"),
    ("partner=PARTNER&partner=PARTNER", 400, "partner must be given once"),
    ("partner=PARTNER&tenant=a&tenant=a", 400, "tenant must be given once"),
    ("partner=PARTNER&limit=0", 400, "limit must be a whole number from 1 to 1000"),
    ("partner=PARTNER&limit=1001", 400, "limit must be a whole number from 1 to 1000"),
    ("partner=PARTNER&limit=" + "9" * 5000, 400, "limit must be a whole number from 1 to 1000"),
    ("partner=PARTNER&cursor=abc", 400, "cursor is not one of ours"),
    ("partner=PARTNER&cursor=WyJhIl0", 400, "cursor is not one of ours"),
    ("partner=PARTNER&cursor=WzFlOTk5XQ", 400, "cursor is not one of ours"),
    ("partner=PARTNER&cursor=" + "W1tb" * 1500, 400, "cursor is not one of ours"),
    ("partner=other", 404, "Partner not found: other"),
    ("partner=other&sentToOds=yes", 404, "Partner not found: other"),
    ("partner=PARTNER&sentToOds=yes&createdAfter=x", 400, 'sentToOds must be "true" or "false"'),
    ("partner=PARTNER&createdAfter=x&schoolYear=x", 400, "createdAfter must be a valid ISO 8601 timestamp"),
]


@pytest.mark.parametrize(("query", "status", "message"), FAULTS)
def test_the_first_fault_in_order_is_the_answer(
    door: Any, partner: str, query: str, status: int, message: str
) -> None:
    answer = door.get(f"{LIST}?{query.replace('PARTNER', partner)}", partner)
    assert (answer.status_code, answer.json["message"][: len(message)]) == (status, message)
    assert answer.content_type == "application/problem+json"


def test_a_partner_is_matched_exactly(door: Any, partner: str) -> None:
    for near in (partner.upper(), partner[:-1], partner + "x", f"{partner}%00", f"%20{partner}"):
        assert door.get(f"{LIST}?partner={near}", partner).status_code == 404


def test_a_token_without_the_scope_is_refused(door: Any, partner: str, reader: Any) -> None:
    caller = reader(partner, scopes=["create:jobs", "read:jobs:output-files"])
    answer = door.call(caller, "GET", f"{LIST}?partner={partner}")
    assert (answer.status_code, answer.json["message"]) == (403, "Insufficient scopes")


def test_an_unsigned_caller_is_refused(door: Any, partner: str) -> None:
    assert door.app.test_client().get(f"{LIST}?partner={partner}").status_code == 401


def test_an_item_has_its_keys_in_the_published_order(door: Any, work: Any) -> None:
    uid = work.published({"b.jsonl": b"1", "a.jsonl": b"22"})
    answer = door.get(f"{LIST}?partner={work.partner}", work.partner)
    [item] = answer.json
    assert list(item) == [
        "uid", "files", "sentToOds", "createdAt", "jobUid", "partner", "tenant", "schoolYear", "bundle",
    ]  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", item.pop("createdAt"))
    assert item == {
        "uid": uid,
        "files": ["b.jsonl", "a.jsonl"],
        "sentToOds": False,
        "jobUid": work.job,
        "partner": work.partner,
        "tenant": "east",
        "schoolYear": "2026",
        "bundle": "assessments/PSAT_SAT",
    }
    assert answer.content_type == "application/json"


def test_filters_are_exact_and_may_be_combined(door: Any, partner: str, new_work: Any) -> None:
    east = new_work().published(tenant="east", bundle="assessments/A", schoolYear="2025")
    west = new_work().published(tenant="west", bundle="assessments/B", schoolYear="2026")

    def listed(query: str) -> list[str]:
        answer = door.get(f"{LIST}?partner={partner}&{query}", partner)
        assert answer.status_code == 200, answer.text
        return [item["uid"] for item in answer.json]

    assert listed("tenant=east") == [east]
    assert listed("bundle=assessments/B") == [west]
    assert listed("schoolYear=2025") == [east]
    assert listed("tenant=west&bundle=assessments%2FB&schoolYear=2026&sentToOds=false") == [west]
    assert listed("tenant=east&bundle=assessments/B") == []
    assert listed("sentToOds=true") == []
    for unknown in ("tenant=EAST", "tenant=east%00", "tenant=%FF", "bundle=A", "tenant=ea%25"):
        assert listed(unknown) == []
    for ignored in ("tenant=", "bundle=", "schoolYear=", "colour=red&colour=blue", "partner[]=x"):
        assert listed(ignored) == [east, west]


def test_sent_to_ods_is_told_apart(door: Any, work: Any) -> None:
    here = work.make({"a": b"1"}, name="kept")
    sent = work.make({"a": b"1"}, name="sent", sentToOds=True)
    work.end()
    for value, uid in (("true", sent), ("false", here)):
        [item] = door.get(f"{LIST}?partner={work.partner}&sentToOds={value}", work.partner).json
        assert (item["uid"], item["sentToOds"]) == (uid, value == "true")


def test_created_after_is_strict(door: Any, partner: str, new_work: Any) -> None:
    first, second = new_work().published(), new_work().published()
    items = door.get(f"{LIST}?partner={partner}", partner).json
    assert [item["uid"] for item in items] == [first, second]

    def listed(after: str) -> list[str]:
        answer = door.get(f"{LIST}?partner={partner}&createdAfter={quote(after)}", partner)
        return [item["uid"] for item in answer.json]

    assert listed(items[0]["createdAt"]) == [second]
    assert listed(items[1]["createdAt"]) == []
    assert listed(items[0]["createdAt"].replace("Z", "+00:00")) == [second]
    assert listed("0001-01-01T00:00+14:00") == [first, second]
    assert listed("9999-12-31T23:59-12:00") == []


def test_another_partners_sets_are_not_listed(door: Any, work: Any) -> None:
    work.published()
    assert door.get(f"{LIST}?partner=other", "other", work.partner).json == []


def test_head_answers_as_get_without_a_body(door: Any, work: Any) -> None:
    work.published()
    got = door.get(f"{LIST}?partner={work.partner}", work.partner)
    head = door.get(f"{LIST}?partner={work.partner}", work.partner, method="HEAD")
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["ETag"] == got.headers["ETag"]


def test_the_list_answers_with_a_trailing_slash(door: Any, partner: str) -> None:
    assert door.get(f"{LIST}/?partner={partner}", partner).json == []


def test_a_wrong_method_is_405_with_allow(door: Any, partner: str) -> None:
    answer = door.get(LIST, partner, method="DELETE")
    assert answer.status_code == 405
    assert {"GET", "HEAD"} <= set(answer.headers["Allow"].split(", "))
