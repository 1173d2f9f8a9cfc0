"""Create, upload, start, look: the way every client goes."""

from collections.abc import Callable
from typing import Any

import urllib3
from werkzeug.test import TestResponse


def test_a_job_is_created_uploaded_started_and_shown(door: Any, create: Callable[..., TestResponse]) -> None:
    created = create()
    assert created.status_code == 201, created.text
    body = created.get_json()
    assert list(body) == ["uid", "uploadUrls"]
    assert created.headers["Location"] == f"/api/v1/jobs/{body['uid']}"

    with urllib3.PoolManager() as pool:
        answer = pool.request(
            "PUT",
            body["uploadUrls"]["INPUT_FILE"],
            body=b"id\n1\n",
            headers={"Content-Type": "text/odd"},
            timeout=10,
        )
    assert answer.status == 200, answer.data

    shown = door.get(f"/api/v1/jobs/{body['uid']}").get_json()
    assert shown["status"] == "created"
    assert shown["files"] == [{"key": "INPUT_FILE", "name": "results.csv", "uploaded": True, "sizeBytes": 5}]

    started = door.post(f"/api/v1/jobs/{body['uid']}/start")
    assert started.status_code == 202, started.text
    run = started.get_json()
    assert run == {"jobUid": body["uid"], "runUid": run["runUid"], "status": "queued"}
    assert started.headers["Location"] == f"/v1/runs/{run['runUid']}"
    assert door.get(f"/api/v1/jobs/{body['uid']}").get_json()["status"] == "queued"
