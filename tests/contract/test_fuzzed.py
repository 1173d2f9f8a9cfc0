"""Schemathesis over the document clients get, against a running stack: nothing breaks or goes undocumented.

Every case follows from the document alone, so that a run can be repeated.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from driving import Client

from stack.testing import LocalStack

CONFIGURATION = Path(__file__).with_name("schemathesis.toml").read_text(encoding="utf-8")
NOT_FOR_CLIENTS = "^/sdk/|^/api/v1/admin/"
OF_A_RUN = "^/sdk/"
ENDS_THE_RUN = "/(complete|fail)$"
LONGEST_SECONDS = 120


def fuzz(stack: LocalStack, folder: Path, configuration: str, token: str, *choice: str) -> None:
    """Run schemathesis as its configuration says; the token stays out of the command line."""
    environment = {**os.environ, "GATEWAY_URL": stack.gateway_url, "TOKEN": token}
    (folder / "schemathesis.toml").write_text(configuration, encoding="utf-8")
    document = f"{stack.gateway_url}/api/openapi.json"
    program = [sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml"]
    done = subprocess.run(
        [*program, "run", "--no-color", *choice, document],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def run_of_our_own(client: Client) -> Mapping[str, str]:
    """Start a job that its caller runs; the answer has the run and its token."""
    made = client.create("tests/echo", {"INPUT_FILE": "input.csv"})
    client.upload(made["uploadUrls"]["INPUT_FILE"], b"a,b\n1,2\n")
    started: Mapping[str, str] = client.call(
        "POST", f"/api/v1/jobs/{made['uid']}/start", {"executor": "caller"}
    )
    return started


def test_the_api_for_clients_answers_only_what_is_documented(
    system: LocalStack, acme: Client, tmp_path: Path
) -> None:
    fuzz(system, tmp_path, CONFIGURATION, acme.token, "--exclude-path-regex", NOT_FOR_CLIENTS)


def test_the_executor_api_answers_only_what_is_documented(
    system: LocalStack, acme: Client, tmp_path: Path
) -> None:
    run = run_of_our_own(acme)
    itself = f'\n[parameters]\n"path.run_id" = "{run["runUid"]}"\n"path.run" = "{run["runUid"]}"\n'
    choice = ("--include-path-regex", OF_A_RUN, "--exclude-path-regex", ENDS_THE_RUN)
    fuzz(system, tmp_path, CONFIGURATION + itself, run["runToken"], *choice)
