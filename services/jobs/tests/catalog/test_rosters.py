"""What a roster must be. Pure."""

import json
from typing import Any

import pytest

from jobs.catalog import rosters
from jobs.catalog.rosters import RosterFaulty

CODE = {"studentIdentificationSystemDescriptor": "uri://x#State", "identificationCode": "1"}
STUDENT: dict[str, Any] = {
    "educationOrganizationReference": {"schoolId": 1},
    "studentReference": {"studentUniqueId": "1"},
    "studentIdentificationCodes": [CODE],
}


def roster(*students: Any) -> bytes:
    return "\n".join(json.dumps(each) for each in students).encode()


def test_students_are_counted_and_empty_lines_are_not() -> None:
    assert rosters.check(roster(STUDENT, {**STUDENT, "more": 1}) + b"\n\r\n\n") == 2


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"educationOrganizationReference": None}, "educationOrganizationReference must be an object"),
        ({"educationOrganizationReference": {}}, "educationOrganizationReference must be an object"),
        ({"studentReference": {}}, "studentReference.studentUniqueId must be a text"),
        ({"studentReference": {"studentUniqueId": True}}, "studentReference.studentUniqueId must be a text"),
        ({"studentIdentificationCodes": None}, "studentIdentificationCodes must be a list"),
        (
            {"studentIdentificationCodes": [{**CODE, "identificationCode": ""}]},
            "studentIdentificationCodes must",
        ),
    ],
)
def test_a_faulty_member_is_named_with_its_line(changed: Any, fault: str) -> None:
    with pytest.raises(RosterFaulty) as caught:
        rosters.check(roster(STUDENT, {**STUDENT, **changed}))
    [told] = caught.value.faults
    assert told.startswith(f"line 2: {fault}")


def test_json_in_texts_and_numbers_as_ids_are_read() -> None:
    nested = {name: json.dumps(value) for name, value in STUDENT.items()}
    assert rosters.check(roster(nested, {**STUDENT, "studentReference": {"studentUniqueId": 5}})) == 2


@pytest.mark.parametrize("content", [b"", b"\n", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_roster_is_refused(content: bytes) -> None:
    with pytest.raises(RosterFaulty):
        rosters.check(content)


def test_reading_stops_after_some_faults() -> None:
    with pytest.raises(RosterFaulty) as caught:
        rosters.check(b"x\n" * 1000)
    assert len(caught.value.faults) == rosters.MAX_FAULTS + 1


def test_a_roster_has_a_largest_size() -> None:
    with pytest.raises(RosterFaulty, match="larger than 64 MB"):
        rosters.check(b" " * (rosters.MAX_BYTES + 1))
