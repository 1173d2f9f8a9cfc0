"""Object storage on real SeaweedFS: what a presigned URL allows, and what it does not."""

import base64
import hashlib
import uuid
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3

from common.objects import S3Settings, S3Store, StorageUnavailable, attachment
from stack.testing import Servers

BODY = b"hello"
SUM = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
ONCE = {"x-amz-checksum-sha256": SUM, "content-length": str(len(BODY)), "if-none-match": "*"}


def send(method: str, url: str, body: bytes | None = None, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return urllib3.request(method, url, body=body, headers=named, timeout=10, retries=False)


def put(url: str, body: bytes, headers: dict[str, str]) -> int:
    status: int = urllib3.request("PUT", url, body=body, headers=headers, timeout=10, retries=False).status
    return status


@pytest.fixture
def key() -> str:
    return f"tests/{uuid.uuid4()}/a b+é%.txt"


def signed_headers(url: str) -> str:
    return parse_qs(urlsplit(url).query)["X-Amz-SignedHeaders"][0]


def test_an_upload_that_signs_only_the_host_takes_any_client(store: S3Store, key: str) -> None:
    url = store.presign_put(key)
    assert signed_headers(url) == "host"
    assert send("PUT", url, BODY, content_type="text/csv", x_anything="1").status == 200
    assert send("PUT", url, b"again", content_type="application/json").status == 200
    assert store.read(key) == b"again"


def test_an_upload_url_is_for_its_own_key_and_method(store: S3Store, key: str) -> None:
    url = store.presign_put(key)
    assert send("PUT", url.replace("/tests/", "/other/"), BODY).status == 403
    assert send("GET", url).status == 403
    assert send("DELETE", url).status == 403


def test_a_url_is_for_an_hour(store: S3Store, key: str) -> None:
    query = parse_qs(urlsplit(store.presign_get(key)).query)
    assert query["X-Amz-Expires"] == ["3600"]
    longer = store.presign_put(key).replace("X-Amz-Expires=3600", "X-Amz-Expires=7200")
    assert send("PUT", longer, BODY).status == 403


def test_a_signed_upload_takes_these_bytes_once(store: S3Store, key: str) -> None:
    url = store.presign_put(key, headers=ONCE)
    assert signed_headers(url) == "content-length;host;if-none-match;x-amz-checksum-sha256"
    assert put(url, b"hallo", ONCE) == 400
    assert store.look_up(key) is None
    assert put(url, BODY, ONCE) == 200
    assert put(url, BODY, ONCE) == 412
    assert store.read(key) == BODY


@pytest.mark.parametrize("name", ONCE)
def test_a_signed_header_cannot_be_left_out(store: S3Store, key: str, name: str) -> None:
    url = store.presign_put(key, headers=ONCE)
    headers = {each: value for each, value in ONCE.items() if each != name}
    if name == "content-length":
        headers["transfer-encoding"] = "chunked"
    assert put(url, BODY, headers) in (400, 403, 411)
    assert store.look_up(key) is None


@pytest.mark.parametrize("name", ONCE)
def test_a_signed_header_cannot_be_changed(store: S3Store, key: str, name: str) -> None:
    other = b"other bytes"
    changed = {
        "x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(other).digest()).decode(),
        "content-length": str(len(other)),
        "if-none-match": '"etag"',
    }[name]
    url = store.presign_put(key, headers=ONCE)
    body = other if name == "content-length" else BODY
    assert put(url, body, {**ONCE, name: changed}) == 403
    assert store.look_up(key) is None


def test_a_look_up_tells_size_and_checksum(store: S3Store, key: str) -> None:
    put(store.presign_put(key, headers=ONCE), BODY, ONCE)
    found = store.look_up(key)
    assert found is not None
    assert (found.key, found.size_bytes, found.sha256) == (key, len(BODY), SUM)
    assert found.etag.isalnum()
    assert store.look_up(key + "x") is None


def test_a_changed_object_has_another_etag(store: S3Store, key: str) -> None:
    store.write(key, b"one")
    first = store.look_up(key)
    store.write(key, b"two")
    second = store.look_up(key)
    assert first is not None
    assert second is not None
    assert first.etag != second.etag


def test_a_download_carries_its_disposition(store: S3Store, key: str) -> None:
    store.write(key, BODY)
    headers = {"response-content-disposition": attachment('a"é\\;.csv')}
    got = send("GET", store.presign_get(key, response_headers=headers))
    assert (got.status, got.data) == (200, BODY)
    assert got.headers["Content-Disposition"] == headers["response-content-disposition"]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a.csv", "attachment; filename=\"a.csv\"; filename*=UTF-8''a.csv"),
        ('a"b\\c%.csv', "attachment; filename=\"a_b_c_.csv\"; filename*=UTF-8''a%22b%5Cc%25.csv"),
        ("é\r\nx: y", "attachment; filename=\"___x: y\"; filename*=UTF-8''%C3%A9%0D%0Ax%3A%20y"),
    ],
)
def test_a_disposition_is_quoted_safely(name: str, written: str) -> None:
    assert attachment(name) == written


def test_removing_takes_what_is_under_the_prefix_and_nothing_else(store: S3Store) -> None:
    root = f"tests/{uuid.uuid4()}"
    for name in ("a/1", "a/2/3", "a/é +", "ab/1", "b"):
        store.write(f"{root}/{name}", BODY)
    assert store.remove_under(f"{root}/a/") == 3
    left = {name for name in ("a/1", "a/2/3", "a/é +", "ab/1", "b") if store.look_up(f"{root}/{name}")}
    assert left == {"ab/1", "b"}
    assert store.remove_under(f"{root}/a/") == 0


def test_a_url_names_the_public_address(servers: Servers, key: str) -> None:
    access = S3Settings(**asdict(servers.s3("outputs")))
    store = S3Store(replace(access, public_url="https://files.example:9000/"))
    assert store.presign_get(key).startswith(f"https://files.example:9000/{access.bucket}/tests/")


def test_a_service_cannot_reach_the_bucket_of_another(servers: Servers, key: str) -> None:
    access = S3Settings(**asdict(servers.s3("outputs")))
    stranger = S3Store(replace(access, bucket=servers.s3("jobs").bucket))
    for act in (
        lambda: stranger.write(key, BODY),
        lambda: stranger.read(key),
        lambda: stranger.remove_under(""),
    ):
        with pytest.raises(StorageUnavailable):
            act()
    assert send("PUT", stranger.presign_put(key), BODY).status == 403


def test_storage_that_is_away_is_an_outage(servers: Servers, key: str) -> None:
    access = replace(S3Settings(**asdict(servers.s3("outputs"))), url="http://127.0.0.1:1")
    store = S3Store(access)
    for act in (store.probe, lambda: store.look_up(key), lambda: store.read(key)):
        with pytest.raises(StorageUnavailable):
            act()


def test_a_secret_key_is_not_shown(servers: Servers) -> None:
    access = S3Settings(**asdict(servers.s3("outputs")))
    assert access.secret_key not in repr(access)


def test_the_bucket_answers_a_probe(store: S3Store, servers: Servers) -> None:
    store.probe()
    absent = replace(S3Settings(**asdict(servers.s3("outputs"))), bucket="taxiway-absent")
    with pytest.raises(StorageUnavailable):
        S3Store(absent).probe()
