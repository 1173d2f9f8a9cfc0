"""Sets in the making: what an executor may declare, upload and seal."""

import uuid
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3

from common.objects import S3Store

FILE = {"name": "a.jsonl", "size_bytes": 3, "sha256": "0" * 64}
GOOD = {"name": "out", "files": [FILE]}


def without(key: str) -> dict[str, Any]:
    return {**GOOD, "files": [{name: value for name, value in FILE.items() if name != key}]}


def with_file(**more: Any) -> dict[str, Any]:
    return {**GOOD, "files": [{**FILE, **more}]}


def named(*names: str) -> dict[str, Any]:
    return {**GOOD, "files": [{**FILE, "name": name} for name in names]}


INCOMPLETE = {
    "nothing": {},
    "no name": {"files": [FILE]},
    "no files": {"name": "out"},
    "a file without name": without("name"),
    "a file without size": without("size_bytes"),
    "a file without checksum": without("sha256"),
    "an empty file": with_file(size_bytes=0),
    "a negative size": with_file(size_bytes=-1),
    "an unknown kind": {**GOOD, "kind": "other"},
}
WRONG = {
    "files is no list": {**GOOD, "files": "a"},
    "a file is no object": {**GOOD, "files": ["a"]},
    "name is null": {**GOOD, "name": None},
    "name is a number": {**GOOD, "name": 1},
    "size is a text": with_file(size_bytes="3"),
    "size is a fraction": with_file(size_bytes=3.5),
    "size is a boolean": with_file(size_bytes=True),
    "no file at all": {**GOOD, "files": []},
    "201 files": named(*(f"{n}" for n in range(201))),
    "the same name twice": named("a", "a"),
    "an empty name": named(""),
    "a dot": named("."),
    "two dots": named(".."),
    "a slash": named("a/b"),
    "a backslash": named("a\\b"),
    "a control character": named("a\nb"),
    "a delete character": named("a\x7fb"),
    "a direction override": named("a\u202eb"),
    "256 characters": named("a" * 256),
    "255 characters of four bytes": named("\U0001f600" * 255),
    "an unsafe name of the set": {**GOOD, "name": "a/b"},
    "a checksum in capitals": with_file(sha256="A" * 64),
    "a short checksum": with_file(sha256="0" * 63),
    "more than 50 GiB": with_file(size_bytes=50 * 1024**3 + 1),
    "an enormous size": with_file(size_bytes=10**400),
}


@pytest.mark.parametrize("case", INCOMPLETE)
def test_an_incomplete_set_is_422(work: Any, case: str) -> None:
    answer = work.post("", json=INCOMPLETE[case])
    assert (answer.status_code, answer.json["error"]) == (422, "validation_error")
    assert answer.json["details"]


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_type_or_a_limit_passed_is_400(work: Any, case: str) -> None:
    answer = work.post("", json=WRONG[case])
    assert (answer.status_code, answer.json["error"]) == (400, "bad_request")
    assert answer.json["details"]


@pytest.mark.parametrize("body", [b"{", b"[" * 100_000, b'{"name": ' + b"9" * 5000 + b"}", b"\xff", b"[]"])
def test_malformed_json_is_400(work: Any, body: bytes) -> None:
    assert work.post("", data=body, content_type="application/json").status_code == 400


def test_half_a_surrogate_pair_is_no_fault_of_ours(work: Any) -> None:
    body = b'{"name": "\\ud800", "files": [{"name": "\\ud800", "size_bytes": 3, "sha256": "%s"}]}' % (
        b"0" * 64
    )
    assert work.post("", data=body, content_type="application/json").status_code == 201


def test_all_faults_are_reported_together(work: Any) -> None:
    body = {"name": "/", "files": [{**FILE, "name": ".."}, {**FILE, "sha256": "x"}]}
    details = work.post("", json=body).json["details"]
    assert set(details) == {"name", "files.0.name", "files.1.sha256"}


def test_the_limits_themselves_are_allowed(work: Any) -> None:
    names = [f"{n:03}" + "é" * 252 for n in range(200)]
    body = {**named(*names), "name": "x" * 255, "extra": "ignored"}
    body["files"][0]["size_bytes"] = 50 * 1024**3
    assert work.post("", json=body).status_code == 201


def test_a_declared_set_gets_urls_and_headers_for_its_files(work: Any) -> None:
    made = work.declare({"a b.jsonl": b"{}\n"})
    key = f"/{work.run}/1/{made['uid']}/a%20b.jsonl"
    assert urlsplit(made["uploadUrls"]["a b.jsonl"]).path.endswith(key)
    headers = made["uploadHeaders"]["a b.jsonl"]
    assert set(headers) == {"x-amz-checksum-sha256", "content-length", "if-none-match"}
    assert (headers["content-length"], headers["if-none-match"]) == ("3", "*")
    [signed] = parse_qs(urlsplit(made["uploadUrls"]["a b.jsonl"]).query)["X-Amz-SignedHeaders"]
    assert signed == "content-length;host;if-none-match;x-amz-checksum-sha256"


def test_the_same_set_again_is_the_same_set(work: Any) -> None:
    body = {"name": "out", "files": [FILE]}
    first, second = work.post("", json=body), work.post("", json=body)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json["uid"] == second.json["uid"]
    assert set(second.json["uploadUrls"]) == {"a.jsonl"}


@pytest.mark.parametrize("other", [with_file(size_bytes=4), with_file(name="b"), {**GOOD, "kind": "report"}])
def test_the_same_name_with_other_content_is_409(work: Any, other: dict[str, Any]) -> None:
    assert work.post("", json=GOOD).status_code == 201
    answer = work.post("", json=other)
    assert (answer.status_code, answer.json["type"]) == (409, "/problems/output-set-exists")


def test_a_later_lease_may_use_the_name_again(work: Any) -> None:
    first, second = work.post("", 1, json=GOOD), work.post("", 2, json=with_file(size_bytes=9))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json["uid"] != second.json["uid"]


def test_an_idempotency_key_finds_the_set_it_made(work: Any) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = work.post("", json=GOOD, headers=headers)
    second = work.post("", json=GOOD, headers=headers)
    assert (first.status_code, first.json["uid"]) == (201, second.json["uid"])
    assert work.post("", json=with_file(name="b"), headers=headers).status_code == 422


def test_a_later_lease_is_a_caller_of_its_own_to_an_idempotency_key(work: Any) -> None:
    headers = {"Idempotency-Key": "k1"}
    first, later = work.post("", 1, json=GOOD, headers=headers), work.post("", 2, json=GOOD, headers=headers)
    assert (first.status_code, later.status_code) == (201, 201)
    assert first.json["uid"] != later.json["uid"]


def test_another_runs_token_is_refused_before_the_body_is_looked_at(work: Any) -> None:
    target = "/sdk/v1/runs/00000000-0000-7000-8000-000000000000/output-sets"
    assert work.call(target, json={}).status_code == 403


def test_sending_needs_its_own_scope(work: Any) -> None:
    body = {**GOOD, "sentToOds": True}
    answer = work.post("", json=body)
    assert (answer.status_code, answer.json["type"]) == (403, "/problems/run-cannot-send")
    assert work.post("", 1, "run:work", "run:send", json=body).status_code == 201


def test_a_token_of_another_run_is_refused(door: Any, work: Any) -> None:
    other = work.executor(run=str(uuid.uuid4()))
    for path in ("", f"/{uuid.uuid4()}/seal"):
        answer = door.call(other, "POST", f"/sdk/v1/runs/{work.run}/output-sets{path}", json=GOOD)
        assert (answer.status_code, answer.json["message"]) == (403, "token does not match run ID")


def test_a_ticket_and_a_client_are_refused(door: Any, work: Any, reader: Any) -> None:
    assert work.post("", 1, "run:claim", json=GOOD).status_code == 403
    caller = reader(work.partner, scopes=["run:work"])
    answer = door.call(caller, "POST", f"/sdk/v1/runs/{work.run}/output-sets", json=GOOD)
    assert answer.status_code == 403


def upload(url: str, content: bytes, headers: dict[str, str]) -> int:
    return urllib3.request("PUT", url, body=content, headers=headers, timeout=10, retries=False).status


def test_a_file_is_written_once_and_only_as_declared(work: Any) -> None:
    made = work.declare({"a": b"123"})
    url, headers = made["uploadUrls"]["a"], made["uploadHeaders"]["a"]
    assert upload(url, b"124", headers) == 400
    assert upload(url, b"123", {**headers, "x-amz-checksum-sha256": "AAAA"}) == 403
    assert upload(url, b"1234", {**headers, "content-length": "4"}) == 403
    assert upload(url, b"123", {k: v for k, v in headers.items() if k != "if-none-match"}) == 403
    assert upload(url, b"123", headers) == 200
    assert upload(url, b"123", headers) == 412


def test_a_published_file_cannot_be_written_again(work: Any) -> None:
    made = work.declare({"a": b"123"})
    uid = work.make({"a": b"123"})
    work.end()
    assert uid == made["uid"]
    assert upload(made["uploadUrls"]["a"], b"123", made["uploadHeaders"]["a"]) == 412


def test_sealing_names_the_files_that_are_not_as_declared(work: Any, store: S3Store) -> None:
    files = dict.fromkeys(("fine", "missing", "short", "other"), b"123")
    made = work.declare(files)
    prefix = f"{work.run}/1/{made['uid']}/"
    assert upload(made["uploadUrls"]["fine"], b"123", made["uploadHeaders"]["fine"]) == 200
    store.write(prefix + "short", b"12")
    store.write(prefix + "other", b"124")
    answer = work.post(f"/{made['uid']}/seal")
    assert (answer.status_code, answer.json["type"]) == (400, "/problems/files-not-as-declared")
    assert answer.json["details"] == {
        "missing": ["was not uploaded"],
        "short": ["has 2 bytes, 3 were declared"],
        "other": ["has another SHA-256 than declared"],
    }


def test_sealing_may_be_repeated_even_after_publication(work: Any) -> None:
    uid = work.make({"a": b"1"})
    assert work.post(f"/{uid}/seal").status_code == 200
    work.end()
    answer = work.post(f"/{uid}/seal")
    assert (answer.status_code, answer.json["uid"], answer.json["status"]) == (200, uid, "sealed")


def test_many_files_are_sealed_at_once(work: Any) -> None:
    work.make({f"{n}.jsonl": str(n).encode() for n in range(40)})


def test_a_set_of_another_lease_or_run_or_of_none_is_404(door: Any, work: Any, new_work: Any) -> None:
    uid = work.declare({"a": b"1"})["uid"]
    answers = [
        work.post(f"/{uid}/seal", 2),
        new_work().post(f"/{uid}/seal"),
        work.post(f"/{uuid.uuid4()}/seal"),
        work.post("/nonsense/seal"),
    ]
    assert [answer.status_code for answer in answers] == [404] * 4
    assert {answer.json["message"] for answer in answers} == {"Output file set not found"}
