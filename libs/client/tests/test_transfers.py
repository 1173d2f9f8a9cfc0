"""Uploads and downloads that break, expire or lie."""

import hashlib
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from taxiway import Client, NotUnderstood, StorageRefused, Unreachable
from taxiway.jobs import Created
from taxiway.retries import Retries

CONTENT = bytes(range(256)) * 8192  # 2 MiB: more than the sockets hold
LINKS = "POST /api/v1/output-sets/s1/download-links"
RENEWED = "POST /api/v1/jobs/j1/upload-urls"


@pytest.fixture
def client(server: Any) -> Client:
    server.issue_tokens()
    retries = Retries(attempts=3, initial_delay_seconds=0)
    return Client.connect(gateway=server.url, issuer=server.url, client_id="me", secret="s", retries=retries)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.csv"
    path.write_bytes(CONTENT)
    return path


def upload(client: Client, server: Any, source: Path, shown: Any = None) -> None:
    created = Created(uid="j1", upload_urls={"INPUT_FILE": f"{server.url}/put?X-Amz-Signature=hidden"})
    client.upload(created, {"INPUT_FILE": source}, shown)


def test_an_upload_has_a_length_and_no_token(server: Any, client: Client, source: Path) -> None:
    server.reply("PUT /put")
    shown: list[tuple[str, int, int]] = []
    upload(client, server, source, lambda *each: shown.append(each))
    [put] = server.requests("PUT /put")
    assert put.body == CONTENT
    assert put.headers["content-length"] == str(len(CONTENT))
    assert "authorization" not in put.headers
    assert shown[0] == ("INPUT_FILE", 0, len(CONTENT))
    assert shown[-1] == ("INPUT_FILE", len(CONTENT), len(CONTENT))


def test_an_interrupted_upload_starts_again(server: Any, client: Client, source: Path) -> None:
    server.reply("PUT /put", takes=100_000)
    server.reply("PUT /put", status=500)
    server.reply("PUT /put")
    upload(client, server, source)
    assert [len(put.body) for put in server.requests("PUT /put")] == [100_000, len(CONTENT), len(CONTENT)]
    assert server.requests("PUT /put")[-1].body == CONTENT


def test_an_upload_that_keeps_breaking_does_not_show_its_url(
    server: Any, client: Client, source: Path
) -> None:
    server.reply("PUT /put", takes=0)
    with pytest.raises(Unreachable) as unreachable:
        upload(client, server, source)
    assert "hidden" not in str(unreachable.value)
    assert len(server.requests("PUT /put")) == 3


def test_an_expired_upload_url_is_replaced_once(server: Any, client: Client, source: Path) -> None:
    denied = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    server.reply("PUT /put", status=403, body=denied)
    server.on(RENEWED, {"uploadUrls": {"INPUT_FILE": f"{server.url}/again"}})
    server.reply("PUT /again")
    upload(client, server, source)
    assert server.requests("PUT /again")[0].body == CONTENT
    server.replies["PUT", "/again"].clear()
    server.reply("PUT /again", status=403, body=denied)
    with pytest.raises(StorageRefused, match="AccessDenied: Request has expired"):
        upload(client, server, source)


def told(server: Any, *names: str) -> None:
    """Have one finished job with one set of these files."""
    run = {"uid": "r1", "number": 1, "status": "completed", "attempt": 1, "outputSets": ["s1"]}
    job = {
        "uid": "j1",
        "partner": "ea",
        "tenant": "ea",
        "bundle": "tests/echo",
        "bundleVersion": 1,
        "schoolYear": "2026",
        "status": "completed",
        "createdAt": "2026-01-01T00:00:00Z",
        "params": {},
        "files": [],
        "client": {"issuer": "i", "id": "c", "name": "C"},
        "apiInitiated": True,
        "runs": [run],
    }
    server.on("GET /api/v1/jobs/j1", job)
    links = dict.fromkeys(names, f"{server.url}/get")
    server.on(LINKS, {"downloadLinks": links})


def test_an_interrupted_download_starts_again(server: Any, client: Client, tmp_path: Path) -> None:
    told(server, "a.jsonl")
    server.reply("GET /get", body=b"half", headers={"Content-Length": "8"})
    server.reply("GET /get", body=b"half+end")
    [fetched] = client.fetch("j1", tmp_path / "out")
    assert Path(fetched.path).read_bytes() == b"half+end"
    assert fetched.size_bytes == 8
    assert "authorization" not in server.requests("GET /get")[0].headers


def test_a_broken_download_leaves_what_was_there(server: Any, client: Client, tmp_path: Path) -> None:
    told(server, "a.jsonl")
    (tmp_path / "a.jsonl").write_bytes(b"old")
    server.reply("GET /get", body=b"half", headers={"Content-Length": "8"})
    with pytest.raises(Unreachable):
        client.fetch("j1", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]
    assert (tmp_path / "a.jsonl").read_bytes() == b"old"


def test_a_download_with_another_checksum_is_not_kept(server: Any, client: Client, tmp_path: Path) -> None:
    told(server, "a.jsonl")
    right = b64encode(hashlib.sha256(b"right").digest()).decode()
    server.reply("GET /get", body=b"wrong", headers={"x-amz-checksum-sha256": right})
    server.reply("GET /get", body=b"right", headers={"x-amz-checksum-sha256": right})
    client.fetch("j1", tmp_path)
    assert (tmp_path / "a.jsonl").read_bytes() == b"right"


def test_an_expired_download_link_is_replaced(server: Any, client: Client, tmp_path: Path) -> None:
    told(server, "a.jsonl")
    server.reply("GET /get", status=403)
    server.reply("GET /get", body=b"fine")
    client.fetch("j1", tmp_path)
    assert len(server.requests(LINKS)) == 2


@pytest.mark.parametrize("name", ["../a", "a/b", "/etc/x", "..", "a\\b", "a\x1bb", ""])
def test_a_name_that_leads_out_of_the_folder_is_refused(
    server: Any, client: Client, tmp_path: Path, name: str
) -> None:
    told(server, name)
    with pytest.raises(NotUnderstood, match="cannot be kept"):
        client.fetch("j1", tmp_path)
    assert server.requests("GET /get") == []
