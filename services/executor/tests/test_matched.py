"""Bundles whose students are matched: what the child is given, what is said of the matching, and to whom."""

import csv
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from executor.runs import Runner
from executor_sdk import Turn

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
SOURCE, QUIZ = "services/executor/tests/source", "assessments/quiz"
INPUT = b"pupil,level,points\nL1,1,10\nL2,2,20\nL3,1,30\nL9,2,40\n"
MAPPING = b"level,descriptor\n1,partner one\n2,partner two\n"
PRIVATE = "1 Secret Street"
ODS = {"api_year": None, "token_url": "", "client_id": "client", "client_secret": "s3cret"}
Change = Callable[..., dict[str, Any]]


def association(number: int, **more: Any) -> dict[str, Any]:
    codes = [
        {
            "studentIdentificationSystemDescriptor": f"uri://ed-fi.org/X#{name}",
            "identificationCode": f"{name[0]}{number}",
        }
        for name in ("Local", "State")
        if name == "Local" or number == 1
    ]
    return {
        "educationOrganizationReference": {"educationOrganizationId": 7, "link": {"rel": "School"}},
        "studentReference": {"studentUniqueId": f"90{number}"},
        "studentIdentificationCodes": codes,
        **more,
    }


STUDENTS = [association(number, addresses=[PRIVATE]) for number in (1, 2, 3, 4)]
ROSTER = "\n".join(map(json.dumps, STUDENTS)).encode()


@pytest.fixture
def quiz(platform: Any, pack_folder: Callable[[Path, str], bytes]) -> Change:
    """Make the platform's payload for the quiz, its roster and whatever the test changes."""

    def make(roster: bytes = ROSTER, **more: Any) -> dict[str, Any]:
        archive = pack_folder(ROOT / SOURCE, ".")
        platform.payload = {
            "bundle": {
                "key": QUIZ,
                "sha256": hashlib.sha256(archive).hexdigest(),
                "url": platform.put("bundle", archive),
                "mode": "matched",
            },
            "inputs": {"INPUT_FILE": {"url": platform.put("input", INPUT), "file_name": "quiz.csv"}},
            "params": {"API_YEAR": "2024"},
            "roster": {"url": platform.put("roster", roster), "sha256": hashlib.sha256(roster).hexdigest()},
            "required_id_match_rate": 0.5,
        } | more
        return dict(platform.payload)

    return make


def mapping(platform: Any, sha256: str = "") -> dict[str, Any]:
    digest = sha256 or hashlib.sha256(MAPPING).hexdigest()
    return {"levels.csv": {"url": platform.put("mapping", MAPPING), "sha256": digest}}


def uploaded(platform: Any, kind: str) -> dict[str, bytes]:
    [uid] = [uid for uid, made in platform.sets.items() if made["kind"] == kind]
    prefix = f"/store/{uid}/"
    return {
        name.removeprefix(prefix): body for name, body in platform.objects.items() if name.startswith(prefix)
    }


def table(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def test_unmatched_rows_above_the_threshold_are_counted_and_reported(
    platform: Any, runner: Runner, quiz: Change, turn: Turn
) -> None:
    quiz(descriptor_mappings=mapping(platform))
    runner.take(turn)
    [completed] = platform.bodies("complete")
    assert completed["result"] == {
        "counts": {"studentAssessments": 3},
        "unmatched": {"count": 1, "rate": 0.25},
    }
    assert {platform.sets[uid]["kind"] for uid in completed["output_sets"]} == {"result", "report"}
    report = uploaded(platform, "report")
    assert table(report["input_no_student_id_match.csv"]) == [{"pupil": "L9", "level": "2", "points": "40"}]
    [rate] = table(report["student_id_match_rates.csv"])
    assert (rate["source_column_name"], rate["num_matches"], rate["num_rows"]) == ("pupil", "3", "4")
    made = [
        json.loads(line) for line in uploaded(platform, "result")["studentAssessments.jsonl"].splitlines()
    ]
    assert [(each["student"], each["level"], each["year"]) for each in made] == [
        ("901", "partner one", "2024"),
        ("902", "partner two", "2024"),
        ("903", "partner one", "2024"),
    ]


def test_too_few_matches_fail_the_run_with_its_report_sealed_before(
    platform: Any, runner: Runner, quiz: Change, turn: Turn
) -> None:
    quiz(required_id_match_rate=0.9)
    runner.take(turn)
    [failure] = platform.bodies("fail")
    assert (failure["code"], failure["retryable"]) == ("insufficient_matches", False)
    for fact in ("75.0%", "90%", "pupil", "Local"):
        assert fact in failure["error"]
    assert [made["kind"] for made in platform.sets.values()] == ["report"]
    names = [name for name, _key in platform.keys]
    assert names.index("output-sets/set-1/seal") < names.index("fail")
    assert {path.rpartition("/")[2] for path in platform.objects if "/set-" in path} == {
        "student_id_match_rates.csv", "input_no_student_id_match.csv",
    }  # fmt: skip


def test_nothing_of_the_roster_leaves_the_executor(
    platform: Any, runner: Runner, quiz: Change, turn: Turn
) -> None:
    quiz()
    runner.take(turn)
    assert len(platform.bodies("complete")) == 1
    sent = [body for path, body in platform.objects.items() if "/set-" in path]
    sent += [json.dumps(platform.calls).encode()]
    assert all(word not in body for body in sent for word in (PRIVATE.encode(), b"904", b"L4"))
    assert not list(runner.settings.work_folder.rglob("*.jsonl"))


@pytest.mark.parametrize(
    ("changes", "code", "retryable"),
    [
        ({"roster": None}, "no_roster", False),
        ({"roster": {"sha256": "0" * 64}}, "roster_changed", False),
        ({"roster": {"url": "gone"}}, "roster_unavailable", True),
        ({"required_id_match_rate": 2}, "unsupported_payload", False),
    ],
)
def test_a_roster_that_cannot_be_had_fails_the_run(
    platform: Any,
    runner: Runner,
    quiz: Change,
    turn: Turn,
    changes: dict[str, Any],
    code: str,
    retryable: bool,
) -> None:
    payload = quiz()
    if isinstance(changes.get("roster"), dict):
        changes = {"roster": payload["roster"] | changes["roster"]}
        changes["roster"]["url"] = changes["roster"]["url"].replace("gone", f"{platform.url}/store/gone")
    platform.payload |= changes
    runner.take(turn)
    [failure] = platform.bodies("fail")
    assert (failure["code"], failure["retryable"]) == (code, retryable)


def test_a_faulty_roster_is_refused_by_line_without_a_word_of_it(
    platform: Any, runner: Runner, quiz: Change, turn: Turn
) -> None:
    quiz(roster=ROSTER + b'\n{"addresses": "1 Secret Street"}\n')
    runner.take(turn)
    [failure] = platform.bodies("fail")
    assert failure["code"] == "bad_roster"
    assert "line 5" in failure["error"]
    assert PRIVATE not in json.dumps(platform.calls)


def test_a_mapping_with_another_digest_is_not_used(
    platform: Any, runner: Runner, quiz: Change, turn: Turn
) -> None:
    quiz(descriptor_mappings=mapping(platform, sha256="0" * 64))
    runner.take(turn)
    assert platform.bodies("fail")[0]["code"] == "mapping_changed"


def test_a_source_without_the_wrapper_cannot_be_matched(
    platform: Any, runner: Runner, order: Change, turn: Turn
) -> None:
    order("bundles/assessments/PSAT_SAT", b"a\n1\n")["bundle"]["mode"] = "matched"
    platform.payload["roster"] = {"url": platform.put("roster", ROSTER), "sha256": None}
    runner.take(turn)
    [failure] = platform.bodies("fail")
    assert failure["code"] == "bad_bundle"
    assert "student_id_wrapper" in failure["error"]


def test_the_roster_of_an_ods_is_fetched_from_it(
    platform: Any, edfi: Any, runner: Runner, quiz: Change, turn: Turn
) -> None:
    edfi.students = STUDENTS
    quiz(roster=b"", ods={**ODS, "url": edfi.url})
    runner.take(turn)
    [completed] = platform.bodies("complete")
    assert completed["result"]["counts"] == {"studentAssessments": 3}
    # lightbeam sends several at once: they arrive in any order
    assert {each["student"] for each in edfi.received["studentAssessments"]} == {"901", "902", "903"}


def test_an_optional_input_is_read_when_it_is_sent(
    platform: Any, runner: Runner, quiz: Change, turn: Turn
) -> None:
    notes = platform.put("notes", b"pupil,note\nL2,late\n")
    quiz()["inputs"]["INPUT_FILE_NOTES"] = {"url": notes, "file_name": "notes.csv"}
    runner.take(turn)
    lines = uploaded(platform, "result")["studentAssessments.jsonl"].decode().splitlines()
    assert [json.loads(line)["note"] for line in lines] == ["", "late", ""]


def test_an_ods_that_does_not_show_its_students_fails_the_run(
    platform: Any, edfi: Any, runner: Runner, quiz: Change, turn: Turn
) -> None:
    edfi.students = None
    quiz(ods={**ODS, "url": edfi.url})
    runner.take(turn)
    [failure] = platform.bodies("fail")
    assert (failure["code"], failure["error_class"]) == ("ods_refused", "auth")
