"""Bundles whose students are matched, on a running stack: no roster, enough matches, too few."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from driving import Client, Refused

from stack.plan import with_argument
from stack.testing import LocalStack

SOURCE, QUIZ = Path("services/executor/tests/source"), "assessments/quiz"
PARTNER = "matching"
PLACE = f"/api/v1/admin/partners/{PARTNER}"
ROSTER = f"{PLACE}/tenants/{PARTNER}/rosters/2026"
INPUT, UNKNOWN = b"pupil,level,points\nL1,1,10\nL2,2,20\nL3,1,30\nL9,2,40\n", b"L8,1,50\nL7,1,60\nL6,1,70\n"
CLIENT_ID, SECRET = "matching-api", "matching-secret-123"
CLIENT = {
    "client_id": CLIENT_ID,
    "name": "Matching API",
    "secret": SECRET,
    "scopes": ["create:jobs", "read:jobs", "read:jobs:output-files", f"partner:{PARTNER}"],
    "roles": [],
}
# L4 and pupil-904 are of a student who is in no input; nobody's address goes anywhere.
PRIVATE = (b"Secret Street", b"pupil-904", b"L4")


def student(number: int) -> dict[str, Any]:
    return {
        "educationOrganizationReference": {"educationOrganizationId": 7},
        "studentReference": {"studentUniqueId": f"pupil-90{number}"},
        "studentIdentificationCodes": [
            {
                "studentIdentificationSystemDescriptor": "uri://ed-fi.org/X#Local",
                "identificationCode": f"L{number}",
            }
        ],
        "addresses": [f"{number} Secret Street"],
    }


@pytest.fixture(scope="module")
def administrator(system: LocalStack) -> Client:
    return Client(system.gateway_url, system.issuer_url, "taxiway-admin", "admin-secret-123", "")


@pytest.fixture(scope="module")
def matching(system: LocalStack, administrator: Client, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """The client of a partner that needs a roster and has none."""
    clients = tmp_path_factory.mktemp("matching") / "clients.yaml"
    clients.write_text(yaml.safe_dump({"clients": [CLIENT]}))
    for seed, told in (("seed-clients", clients), ("import-bundles", SOURCE)):
        system.stack.run(with_argument(system.stack.plan.seed(seed), str(told)))
    administrator.call("PUT", PLACE, {"name": "Matching", "tenants": [{"code": PARTNER}]})
    year = {"needsRoster": True, "requiredIdMatchRate": 0.5}
    administrator.call("PUT", f"{PLACE}/school-years/2026", year)
    administrator.call("PUT", f"{PLACE}/bundles/{QUIZ}", {})
    return Client(system.gateway_url, system.issuer_url, CLIENT_ID, SECRET, PARTNER)


@pytest.fixture(scope="module")
def refused(matching: Client) -> Refused:
    """What a job is answered with while there is no roster."""
    with pytest.raises(Refused) as refused:
        matching.create(QUIZ, {"INPUT_FILE": "quiz.csv"})
    return refused.value


@pytest.fixture(scope="module")
def with_roster(matching: Client, administrator: Client, refused: Refused) -> Client:
    made = administrator.call("POST", f"{ROSTER}/uploads")
    content = "\n".join(json.dumps(student(number)) for number in (1, 2, 3, 4))
    administrator.upload(made["uploadUrl"], content.encode())
    kept = administrator.call("PUT", ROSTER, {"uploadUid": made["uploadUid"]})
    assert kept["students"] == 4
    return matching


def files(client: Client, address: str) -> dict[str, bytes]:
    links = client.call("POST", address)["downloadLinks"]
    return {name: client.download(url) for name, url in links.items()}


def ended(client: Client, content: bytes) -> Any:
    """Run the quiz; return its job once it has ended and told what became of its report."""
    uid = client.submit(QUIZ, content)
    until = time.monotonic() + 120
    while time.monotonic() < until:
        job = client.job(uid)
        if job["status"] in ("completed", "failed") and job["runs"][-1]["unmatched"]:
            return job
        time.sleep(0.1)
    raise AssertionError(f"the job did not get there: {job}")


def test_a_job_is_refused_while_its_year_has_no_roster(refused: Refused) -> None:
    assert (refused.status, refused.problem["type"].rpartition("/")[2]) == (400, "roster-not-found")


def test_matched_students_come_out_and_the_others_are_reported(with_roster: Client) -> None:
    job = ended(with_roster, INPUT)
    [run] = job["runs"]
    assert (job["status"], run["counts"]) == ("completed", {"studentAssessments": 3})
    assert (run["unmatched"]["count"], run["unmatched"]["rate"]) == (1, 0.25)
    report = files(with_roster, run["unmatched"]["downloadUrl"])
    assert report["input_no_student_id_match.csv"].splitlines() == [b"pupil,level,points", b"L9,2,40"]
    [uid] = run["outputSets"]
    made = files(with_roster, f"/api/v1/output-sets/{uid}/download-links")
    records = [json.loads(line) for line in made["studentAssessments.jsonl"].splitlines()]
    assert [each["student"] for each in records] == ["pupil-901", "pupil-902", "pupil-903"]
    told = [*report.values(), *made.values(), json.dumps(job).encode()]
    assert all(word not in content for content in told for word in PRIVATE)


def test_too_few_matches_fail_the_job_and_leave_the_report(with_roster: Client) -> None:
    job = ended(with_roster, INPUT + UNKNOWN)
    [run] = job["runs"]
    assert (job["status"], run["error"]["code"], run["outputSets"]) == ("failed", "insufficient_matches", [])
    assert "42.9%" in run["error"]["message"]
    assert (run["unmatched"]["count"], run["unmatched"]["rate"]) == (None, None)
    report = files(with_roster, run["unmatched"]["downloadUrl"])
    unmatched = report["input_no_student_id_match.csv"].splitlines()
    assert [line[:2] for line in unmatched[1:]] == [b"L9", b"L8", b"L7", b"L6"]
    assert all(word not in content for content in report.values() for word in PRIVATE)
