"""The command `taxiway` on a running stack, as a user or a script runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from stack.testing import LocalStack

Run = Callable[..., "subprocess.CompletedProcess[str]"]
NOBODY = "00000000-0000-4000-8000-000000000000"
ECHO = ("submit", "--bundle", "tests/echo", "--year", "2026")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def taxiway(system: LocalStack, home: Path) -> Run:
    """The command of someone who is logged in as the example client of ea."""
    secret = home / "secret"
    secret.write_text("api-secret-123\n")
    place = ["--gateway", system.gateway_url, "--issuer", f"{system.issuer_url}/realms/example"]
    words = ["login", *place, "--client-id", "runway-api", "--secret-file", str(secret)]
    done = command(words, home)
    assert (done.returncode, done.stdout) == (0, "Token is valid for partner: ea\n"), done.stderr
    return lambda *words, **more: command(words, home, more)


def command(words: Any, home: Path, more: Mapping[str, str] | None = None) -> Any:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TAXIWAY_")}
    folders = {"XDG_CONFIG_HOME": str(home / "config"), "XDG_CACHE_HOME": str(home / "cache")}
    return subprocess.run(
        [sys.executable, "-m", "taxiway", *words],
        env={**kept, **folders, **(more or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def submitted(taxiway: Run, home: Path) -> str:
    """A job of two lines that has completed; its uid."""
    (home / "lines.csv").write_text("one\ntwo\n")
    done = taxiway(*ECHO, f"INPUT_FILE={home / 'lines.csv'}", "--json", "--wait", "ECHO_SECONDS=0.1")
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)
    assert (job["status"], job["params"]["ECHO_SECONDS"]) == ("completed", "0.1")
    uid: str = job["uid"]
    return uid


def test_the_token_is_kept_and_the_secret_is_not(taxiway: Run, home: Path) -> None:
    files = [path for path in (home / "config", home / "cache") for path in path.rglob("*.json")]
    assert sorted(path.name[:5] for path in files) == ["login", "token"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)
    assert not any("api-secret-123" in path.read_text() for path in files)
    verified = taxiway("verify", TAXIWAY_CLIENT_SECRET="wrong")  # the token still serves
    assert verified.returncode == 0
    assert "scopes   create:jobs partner:ea read:jobs read:jobs:output-files" in verified.stdout
    assert "eyJ" not in verified.stdout + verified.stderr


def test_bundles_tell_what_they_ask_for(taxiway: Run) -> None:
    assert "tests/echo" in taxiway("bundles").stdout
    shown = taxiway("bundles", "tests/echo")
    assert "INPUT_FILE    file   required  Lines (csv, txt)" in shown.stdout
    assert "API_YEAR" not in shown.stdout


def test_what_a_job_made_is_fetched_whole(taxiway: Run, submitted: str, tmp_path: Path) -> None:
    done = taxiway("fetch", submitted, str(tmp_path / "out"), "--json")
    assert done.returncode == 0, done.stderr
    fetched = json.loads(done.stdout)
    lines = [line for each in fetched for line in Path(each["path"]).read_text().splitlines()]
    assert [json.loads(line)["line"] for line in lines] == ["one", "two"]
    assert all(Path(each["path"]).stat().st_size == each["sizeBytes"] for each in fetched)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        each["name"] for each in fetched
    )


def test_jobs_are_listed_and_shown(taxiway: Run, submitted: str) -> None:
    listed = json.loads(taxiway("jobs", "--bundle", "tests/echo", "--json").stdout)
    assert submitted in [job["uid"] for job in listed]
    assert f"job      {submitted}\nstatus   completed" in taxiway("job", submitted).stdout


def test_a_failed_job_ends_with_1_and_says_why(taxiway: Run, home: Path, submitted: str) -> None:
    done = taxiway(*ECHO, f"INPUT_FILE={home / 'lines.csv'}", "ECHO_FAIL=deliberately", "--wait")
    assert done.returncode == 1, done.stderr
    assert "status   failed" in done.stdout
    uid = done.stdout.split()[1]
    assert taxiway("wait", uid).returncode == 1
    nothing = taxiway("fetch", uid, str(home / "nothing"))
    assert (nothing.returncode, (home / "nothing").exists()) == (1, False)
    assert "There is nothing to fetch, the job is failed" in nothing.stderr


def test_a_job_is_canceled_while_it_runs(taxiway: Run, home: Path, submitted: str) -> None:
    started = taxiway(*ECHO, f"INPUT_FILE={home / 'lines.csv'}", "ECHO_SECONDS=60")
    uid = started.stdout.strip()
    assert taxiway("wait", uid, "--timeout", "0").returncode == 5
    assert taxiway("cancel", uid).returncode == 0
    assert taxiway("wait", uid).returncode == 1
    assert taxiway("cancel", uid).returncode == 0
    refused = taxiway("cancel", submitted)
    assert (refused.returncode, submitted in refused.stderr) == (3, True)


def test_refusals_show_what_the_server_said(taxiway: Run, home: Path, submitted: str) -> None:
    file = f"INPUT_FILE={home / 'lines.csv'}"
    year = taxiway("submit", "--bundle", "tests/echo", "--year", "2023", file)
    assert (year.returncode, year.stdout) == (3, "")
    assert "taxiway: School year is not enabled: 2023 (400)\n" in year.stderr
    assert "request id: " in year.stderr
    bundle = taxiway("submit", "--bundle", "tests/none", "--year", "2026", file, "--json")
    assert bundle.returncode == 3
    assert json.loads(bundle.stderr)["detail"] == "Bundle not found or not enabled for partner: tests/none"
    assert taxiway("job", NOBODY).returncode == 3
    assert taxiway("jobs", "--partner", "acme").returncode == 3


def test_a_wrong_secret_is_refused_by_name(taxiway: Run) -> None:
    refused = taxiway("verify", TAXIWAY_CLIENT_ID="acme-api", TAXIWAY_CLIENT_SECRET="wrong-secret")
    assert refused.returncode == 3
    assert "gives acme-api no token: Unknown client or wrong secret" in refused.stderr
    assert "wrong-secret" not in refused.stderr


def test_mistakes_at_home_send_nothing(taxiway: Run, home: Path) -> None:
    unknown = taxiway(*ECHO, "INPUT_FIL=x")
    assert unknown.returncode == 2
    assert "tests/echo knows no INPUT_FIL, but INPUT_FILE=path, SECOND_FILE=path, " in unknown.stderr
    assert taxiway(*ECHO, f"INPUT_FILE={home / 'missing.csv'}").returncode == 2
    (home / "empty.csv").touch()
    assert "empty.csv is empty" in taxiway(*ECHO, f"INPUT_FILE={home / 'empty.csv'}").stderr
