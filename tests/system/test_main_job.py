"""The main job on a running stack, as the published quick start and the README walk it."""

import json
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import urllib3
from driving import Client, Refused

from stack.testing import LocalStack

SAMPLE = Path("bundles/assessments/PSAT_SAT/data/sample.csv")
BUNDLE = "assessments/PSAT_SAT"


@pytest.fixture(scope="module")
def finished(ea: Client) -> Any:
    """The 5-row sample, run through earthmover once for every test of this module."""
    uid = ea.submit(BUNDLE, SAMPLE.read_bytes(), {"TEST_TYPE": "SAT"})
    return ea.wait_completed(uid)


def test_the_published_quick_start_gives_a_token_that_verifies(system: LocalStack) -> None:
    form = ("grant_type=client_credentials", "client_id=runway-api", "client_secret=api-secret-123")
    url = f"{system.issuer_url}/realms/example/protocol/openid-connect/token"
    token = json.loads(curl("-X", "POST", url, *(word for part in form for word in ("-d", part))))
    assert token["scope"].split() == ["create:jobs", "read:jobs", "read:jobs:output-files", "partner:ea"]
    bearer = f"Authorization: Bearer {token['access_token']}"
    verified = json.loads(curl("-X", "POST", f"{system.gateway_url}/api/v1/token/verify", "-H", bearer))
    assert verified["valid"] is True
    assert verified["message"] == "Token is valid for partner: ea"
    assert verified["partners"] == ["ea"]


def curl(*words: str) -> str:
    done = subprocess.run(
        ["curl", "-sS", "--max-time", "20", *words], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_scope_field_narrows_the_token(system: LocalStack) -> None:
    form = {
        "grant_type": "client_credentials",
        "client_id": "acme-api",
        "client_secret": "acme-secret-123",
        "scope": "read:jobs partner:acme",
    }
    url = f"{system.issuer_url}/realms/example/protocol/openid-connect/token"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = urllib3.request("POST", url, body=urlencode(form), headers=headers)
    assert answer.json()["scope"] == "read:jobs partner:acme"


def test_a_csv_becomes_ed_fi_jsonl(ea: Client, finished: Any) -> None:
    [published] = ea.published(finished["uid"])
    assert list(published.item) == [
        *("uid", "files", "sentToOds", "createdAt", "jobUid", "partner", "tenant", "schoolYear", "bundle")
    ]
    assert set(published.digests) == {
        *("assessments.jsonl", "objectiveAssessments.jsonl"),
        *("studentAssessments.jsonl", "studentObjectiveAssessments.jsonl"),
    }
    links = ea.call("POST", f"/api/v1/output-sets/{published.uid}/download-links")["downloadLinks"]
    lines = ea.download(links["studentAssessments.jsonl"]).decode().splitlines()
    assert len(lines) == 5
    assert all(json.loads(line)["schoolYearTypeReference"]["schoolYear"] == 2026 for line in lines)


def test_the_job_tells_what_its_run_did(finished: Any) -> None:
    [run] = finished["runs"]
    assert run["counts"]["studentAssessments"] == 5
    assert run["status"] == "completed"
    assert len(run["outputSets"]) == 1


def test_a_wrong_file_fails_with_a_sentence_that_helps(ea: Client) -> None:
    uid = ea.submit(BUNDLE, b"name,color\nfictional,blue\n", {"TEST_TYPE": "SAT"})
    job = ea.wait(uid, lambda job: job["status"] == "failed")
    error = job["runs"][-1]["error"]
    assert error["code"]
    assert "Traceback" not in error["message"]
    assert ea.published(uid) == []


def test_another_partner_sees_nothing_of_it(ea: Client, acme: Client, finished: Any) -> None:
    [published] = ea.published(finished["uid"])
    paths = (
        ("GET", f"/api/v1/jobs/{finished['uid']}", 404),
        ("POST", f"/api/v1/jobs/{finished['uid']}/start", 404),
        ("POST", f"/api/v1/output-sets/{published.uid}/download-links", 404),
        ("GET", "/api/v1/output-sets?partner=ea", 404),
    )
    for method, path, status in paths:
        assert acme.send(method, path).status == status, path


def test_a_caller_does_the_work_itself(ea: Client, system: LocalStack) -> None:
    made = ea.create("tests/echo", {"INPUT_FILE": "input.csv"})
    ea.upload(made["uploadUrls"]["INPUT_FILE"], b"one\n")
    started = ea.call("POST", f"/api/v1/jobs/{made['uid']}/start", {"executor": "caller"})
    run = Run(system.gateway_url, started["runUid"], started["runToken"])
    payload = run.call("GET", "payload", 200)
    assert ea.download(payload["inputs"]["INPUT_FILE"]["url"]) == b"one\n"
    assert payload["ods"] is None
    run.call("POST", "progress", 201, {"percent": 50, "message": "half way"})
    assert run.call("POST", "heartbeat", 200, {})["status"] == "ok"
    run.call("POST", "complete", 200, {"result": {"counts": {}}})
    ea.wait_completed(made["uid"])
    assert run.send("POST", "heartbeat", {}).status == 410


class Run:
    """A run worked by the test itself."""

    def __init__(self, gateway: str, uid: str, token: str) -> None:
        self._base = f"{gateway}/sdk/v1/runs/{uid}"
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def send(self, method: str, path: str, body: Any = None) -> urllib3.BaseHTTPResponse:
        content = json.dumps(body).encode() if body is not None else None
        url = f"{self._base}/{path}"
        return urllib3.request(method, url, body=content, headers=self._headers, retries=False)

    def call(self, method: str, path: str, expect: int, body: Any = None) -> Any:
        answer = self.send(method, path, body)
        assert answer.status == expect, answer.data
        return answer.json() if answer.data else None


def test_a_run_token_opens_nothing_of_the_external_api_nor_a_client_token_a_run(
    ea: Client, system: LocalStack
) -> None:
    made = ea.create("tests/echo", {"INPUT_FILE": "input.csv"})
    ea.upload(made["uploadUrls"]["INPUT_FILE"], b"one\n")
    started = ea.call("POST", f"/api/v1/jobs/{made['uid']}/start", {"executor": "caller"})
    bearer = {"Authorization": f"Bearer {started['runToken']}"}
    answer = urllib3.request("GET", f"{system.gateway_url}/api/v1/output-sets?partner=ea", headers=bearer)
    assert answer.status in (401, 403)
    assert ea.send("GET", f"/sdk/v1/runs/{started['runUid']}/payload").status in (401, 403)
    run = Run(system.gateway_url, started["runUid"], started["runToken"])
    run.call("POST", "fail", 200, {"error": "done with it", "retryable": False})


def test_a_job_that_was_started_twice_runs_once(ea: Client) -> None:
    made = ea.create("tests/echo", {"INPUT_FILE": "input.csv"}, {"ECHO_SECONDS": "1"})
    ea.upload(made["uploadUrls"]["INPUT_FILE"], b"one\n")
    path = f"/api/v1/jobs/{made['uid']}/start"
    ea.call("POST", path)
    with pytest.raises(Refused) as refused:
        ea.call("POST", path)
    assert refused.value.problem["detail"] == f"Job already in progress: {made['uid']}"
    assert refused.value.problem["type"] == "/problems/job-in-progress"
    ea.wait_completed(made["uid"])
    assert len(ea.published(made["uid"])) == 1


def test_a_start_without_upload_names_what_is_missing(ea: Client) -> None:
    made = ea.create("tests/echo", {"INPUT_FILE": "input.csv"})
    with pytest.raises(Refused) as refused:
        ea.call("POST", f"/api/v1/jobs/{made['uid']}/start")
    message = "Some expected files were not found. Expected files: input.csv"
    assert (refused.value.status, refused.value.problem["detail"]) == (400, message)


def test_no_secret_stands_in_a_log(system: LocalStack, finished: Any) -> None:
    secrets = ("api-secret-123", "acme-secret-123", "X-Amz-Signature", "eyJ")
    for path in system.folder("logs").iterdir():
        text = path.read_text(errors="replace")
        assert not [secret for secret in secrets if secret in text], path.name


def test_services_cannot_be_called_past_the_gateway(system: LocalStack, ea: Client) -> None:
    for name in ("jobs", "outputs"):
        headers = {
            "Authorization": f"Bearer {ea.token}",
            "X-Auth-Kind": "client",
            "X-Auth-Subject": "runway-api",
            "X-Auth-Partners": "ea",
            "X-Auth-Scopes": "read:jobs",
        }
        url = f"http://127.0.0.1:{system.port(name)}/api/v1/output-sets?partner=ea"
        if name == "jobs":
            url = f"http://127.0.0.1:{system.port(name)}/api/v1/jobs/00000000-0000-0000-0000-000000000000"
        assert urllib3.request("GET", url, headers=headers).status == 401


def test_every_process_is_ready_and_measured(system: LocalStack) -> None:
    for name in ("gateway", "issuer", "jobs", "jobs-watch", "outputs"):
        ready = urllib3.request("GET", f"http://127.0.0.1:{system.port(name)}/readyz")
        assert ready.status == 200, (name, ready.data)
    for name in ("gateway", "issuer", "jobs", "jobs-watch", "outputs", "dispatcher", "courier", "executor"):
        page = urllib3.request("GET", f"http://127.0.0.1:{system.metrics_port(name)}/metrics")
        assert page.status == 200, name
        assert b"# HELP" in page.data, name
