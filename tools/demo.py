"""Walk the main job end to end with plain HTTP calls, showing each call and what came back.

Token, create, upload, start, watch, list the output set, download. Exits 1 when anything is off.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3

GATEWAY = f"http://localhost:{os.environ.get('GATEWAY_PORT', '3333')}"
ISSUER = f"http://localhost:{os.environ.get('ISSUER_PORT', '8080')}"
TOKEN_URL = f"{ISSUER}/realms/example/protocol/openid-connect/token"
SAMPLE = Path("bundles/assessments/PSAT_SAT/data/sample.csv")
CREDENTIALS = {"client_id": "runway-api", "client_secret": "api-secret-123"}
RESOURCES = ("assessments", "objectiveAssessments", "studentAssessments", "studentObjectiveAssessments")
PATIENCE_SECONDS = 600


class Off(Exception):
    """Something is not as it should be; the message says what."""


class Walk:
    """Sends the calls and prints them, with how long each took."""

    def __init__(self) -> None:
        self._http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=5, read=30))
        self.token = ""
        self.steps: list[tuple[str, float]] = []

    def call(
        self,
        step: str,
        method: str,
        url: str,
        *,
        expect: int,
        fields: Mapping[str, str] | None = None,
        body: Any = None,
        quiet: bool = False,
    ) -> Any:
        """Send one call and return its JSON; anything but the expected status is Off."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        content: bytes | None = None
        if fields is not None and method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            content = urlencode(fields).encode()
        elif body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode()
        query = fields if method == "GET" else None
        started = time.monotonic()
        answer = self._http.request(method, url, body=content, headers=headers, fields=query)
        seconds = time.monotonic() - started
        if not quiet:
            self._show(step, method, url, query, answer, seconds)
        if answer.status != expect:
            raise Off(f"{method} {url} answered {answer.status}, not {expect}: {answer.data.decode()[:500]}")
        return json.loads(answer.data) if answer.data else None

    def _show(self, step: str, method: str, url: str, query: Any, answer: Any, seconds: float) -> None:
        self.steps.append((step, seconds))
        shown = url + ("?" + urlencode(query) if query else "")
        print(f"\n\033[1m{step}\033[0m\n  {method} {shown}\n  {answer.status} in {seconds * 1000:.0f} ms")
        for line in _pretty(answer.data):
            print(f"    {line}")

    def put(self, url: str, content: bytes) -> None:
        """Upload bytes straight to object storage."""
        started = time.monotonic()
        answer = self._http.request("PUT", url, body=content)
        self.steps.append(("upload", time.monotonic() - started))
        print(f"\n\033[1mupload\033[0m\n  PUT {url.split('?')[0]}?…  ({len(content):,} bytes)")
        print(f"  {answer.status}")
        if answer.status != 200:
            raise Off(f"the upload answered {answer.status}: {answer.data.decode()[:500]}")

    def get(self, url: str) -> bytes:
        """Download bytes straight from object storage."""
        answer = self._http.request("GET", url)
        if answer.status != 200:
            raise Off(f"a download answered {answer.status}")
        return answer.data


def _pretty(data: bytes) -> list[str]:
    if not data:
        return []
    lines = json.dumps(json.loads(data), indent=2, ensure_ascii=False).splitlines()
    return [line if len(line) <= 140 else line[:139] + "…" for line in lines]


def walk(source: Path, folder: Path) -> None:
    """Run the job on `source` and put its output files into `folder`."""
    started = time.monotonic()
    walk = Walk()
    grant = {"grant_type": "client_credentials", **CREDENTIALS}
    walk.token = walk.call("token", "POST", TOKEN_URL, fields=grant, expect=200)["access_token"]
    walk.call("verify", "POST", f"{GATEWAY}/api/v1/token/verify", expect=200)
    job = {
        "partner": "ea",
        "tenant": "ea",
        "bundle": "assessments/PSAT_SAT",
        "schoolYear": "2026",
        "files": {"INPUT_FILE": source.name},
        "params": {"TEST_TYPE": "SAT"},
    }
    made = walk.call("create", "POST", f"{GATEWAY}/api/v1/jobs", body=job, expect=201)
    walk.put(made["uploadUrls"]["INPUT_FILE"], source.read_bytes())
    walk.call("start", "POST", f"{GATEWAY}/api/v1/jobs/{made['uid']}/start", expect=202)
    _watch(walk, made["uid"])
    query = {"partner": "ea", "bundle": "assessments/PSAT_SAT", "sentToOds": "false"}
    sets = walk.call(
        "output sets", "GET", f"{GATEWAY}/api/v1/output-sets", fields=query, expect=200, quiet=True
    )
    mine = [each for each in sets if each["jobUid"] == made["uid"]]
    if len(mine) != 1:
        raise Off(f"one output set was expected for the job, not {len(mine)}")
    print(f"\n\033[1moutput set\033[0m\n  GET {GATEWAY}/api/v1/output-sets?{urlencode(query)}")
    print("\n".join(f"    {line}" for line in json.dumps(mine[0], indent=2).splitlines()))
    links_url = f"{GATEWAY}/api/v1/output-sets/{mine[0]['uid']}/download-links"
    links = walk.call("download links", "POST", links_url, expect=200)["downloadLinks"]
    _fetch(walk, links, folder)
    print("\n\033[1mHow long it took\033[0m")
    for step, seconds in walk.steps:
        print(f"  {step:15} {seconds * 1000:7.0f} ms")
    print(f"  {'all of it':15} {(time.monotonic() - started) * 1000:7.0f} ms")


def _watch(walk: Walk, uid: str) -> None:
    """Show the run's progress until the job has ended."""
    print("\n\033[1mwatch\033[0m")
    started, shown = time.monotonic(), ""
    while time.monotonic() - started < PATIENCE_SECONDS:
        job = walk.call("watch", "GET", f"{GATEWAY}/api/v1/jobs/{uid}", expect=200, quiet=True)
        run = job["runs"][-1]
        percent = float(run.get("percent") or (100 if job["status"] == "completed" else 0))
        line = (
            f"  [{'#' * round(percent / 4):25}] {percent:3.0f} %  {job['status']:10} {run.get('step') or ''}"
        )
        if line != shown:
            end = "\r" if sys.stdout.isatty() and job["status"] not in ("completed", "failed") else "\n"
            print(f"{line:<79}", end=end, flush=True)
            shown = line
        if job["status"] == "completed":
            walk.steps.append(("run", time.monotonic() - started))
            print(f"  records: {run.get('counts')}")
            return
        if job["status"] in ("failed", "canceled"):
            raise Off(f"the job {job['status']}: {run.get('error')}")
        time.sleep(0.2)
    raise Off(f"the job did not end within {PATIENCE_SECONDS} s")


def _fetch(walk: Walk, links: Mapping[str, str], folder: Path) -> None:
    missing = {f"{name}.jsonl" for name in RESOURCES} - set(links)
    if missing:
        raise Off(f"these files were expected too: {', '.join(sorted(missing))}")
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    for name, url in links.items():
        content = walk.get(url)
        (folder / name).write_bytes(content)
        lines = content.decode().splitlines()
        if not lines or not all(isinstance(json.loads(line), dict) for line in lines):
            raise Off(f"{name} is not JSON lines")
        print(f"\n\033[1m{name}\033[0m  {len(lines)} lines, in {folder}/")
        for line in lines[:2]:
            print(f"    {line[:200]}{'…' if len(line) > 200 else ''}")
    walk.steps.append(("download", time.monotonic() - started))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", type=Path, default=SAMPLE, help="a CSV of SAT results")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="where the files go")
    options = parser.parse_args()
    if subprocess.run([sys.executable, "-m", "stack", "up"], check=False).returncode:
        sys.exit(1)
    try:
        walk(options.input, options.output)
    except (Off, urllib3.exceptions.HTTPError) as error:
        sys.exit(f"\nThe demo failed: {error}")
    print("\nThe job went through the whole system. The stack is still up: make status, make down.")


if __name__ == "__main__":
    main()
