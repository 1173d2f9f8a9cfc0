"""POST /api/v1/output-sets/{setUid}/download-links."""

import uuid
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3


def test_links_download_every_file_in_stored_order(door: Any, work: Any) -> None:
    files = {"z.jsonl": b"zz", "a.jsonl": b"a", 'O\'Neil "é" ü;%.jsonl': b"ooo"}
    uid = work.published(files)
    answer = door.post_links(uid, work.partner)
    assert answer.status_code == 200
    links = answer.json["downloadLinks"]
    assert list(links) == list(files)
    for name, content in files.items():
        got = urllib3.request("GET", links[name], timeout=10, retries=False)
        assert (got.status, got.data) == (200, content)
        assert got.headers["Content-Disposition"].startswith("attachment; filename=")
        assert parse_qs(urlsplit(links[name]).query)["X-Amz-Expires"] == ["3600"]


def test_a_name_is_quoted_safely(door: Any, work: Any) -> None:
    uid = work.published({'a"; b\u00e9%.csv': b"1"})
    [link] = door.post_links(uid, work.partner).json["downloadLinks"].values()
    got = urllib3.request("GET", link, timeout=10, retries=False)
    expected = "attachment; filename=\"a_; b__.csv\"; filename*=UTF-8''a%22%3B%20b%C3%A9%25.csv"
    assert got.headers["Content-Disposition"] == expected


def test_a_link_opens_its_own_file_only(door: Any, work: Any) -> None:
    links = door.post_links(work.published({"a": b"1", "b": b"2"}), work.partner).json["downloadLinks"]
    forged = links["a"].replace("/a?", "/b?")
    assert urllib3.request("GET", forged, timeout=10, retries=False).status == 403


@pytest.mark.parametrize("uid", ["1", "not-a-uuid", "{uid}", "urn:uuid:{uid}", "%00"])
def test_what_is_no_uuid_is_400(door: Any, partner: str, uid: str) -> None:
    answer = door.post_links(uid.replace("{uid}", uuid.uuid4().hex), partner)
    assert (answer.status_code, answer.json["message"]) == (400, "Validation failed (uuid is expected)")


def test_unknown_unpublished_and_foreign_sets_are_told_apart_by_nothing(door: Any, work: Any) -> None:
    unpublished = work.make({"a": b"1"}, name="x")
    answers = [door.post_links(uuid.uuid4(), work.partner), door.post_links(unpublished, work.partner)]
    published = work.published()
    answers.append(door.post_links(published, "other"))
    answers.append(door.post_links(published))
    assert [answer.status_code for answer in answers] == [404] * 4
    bodies = [{**answer.json, "requestId": ""} for answer in answers]
    assert all(body == bodies[0] for body in bodies)
    assert bodies[0]["message"] == "Output file set not found"


def test_capitals_in_the_uuid_are_fine(door: Any, work: Any) -> None:
    assert door.post_links(work.published().upper(), work.partner).status_code == 200


def test_a_published_report_is_not_listed_but_can_be_downloaded(door: Any, work: Any) -> None:
    uid = work.make({"rates.csv": b"1"}, name="match", kind="report")
    work.end()
    assert door.get(f"/api/v1/output-sets?partner={work.partner}", work.partner).json == []
    assert list(door.post_links(uid, work.partner).json["downloadLinks"]) == ["rates.csv"]


def test_the_scope_of_downloads_is_its_own(door: Any, work: Any, reader: Any) -> None:
    target = f"/api/v1/output-sets/{work.published()}/download-links"
    answer = door.call(reader(work.partner, scopes=["read:jobs"]), "POST", target)
    assert (answer.status_code, answer.json["message"]) == (403, "Insufficient scopes")
