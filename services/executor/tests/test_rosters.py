"""Rosters are cut down to ids, their id types are safe to use, and rates are read leniently."""

import json
from pathlib import Path
from typing import Any

import pytest

from executor import matches
from executor.failures import RunFailed
from executor.rosters import MOST_ID_TYPES, Roster, stage


def line(*systems: str, student: str = "1", **more: Any) -> str:
    codes = [
        {"studentIdentificationSystemDescriptor": each, "identificationCode": "7", "assigner": "x"}
        for each in systems
    ]
    record = {"studentReference": {"studentUniqueId": student}, "studentIdentificationCodes": codes}
    return json.dumps(record | more) + "\n"


def staged(folder: Path, *lines: str, start: bytes = b"") -> Roster:
    (folder / "came").write_bytes(start + "".join(lines).encode())
    return stage(folder / "came", folder / "roster.jsonl", lambda: None)


def test_only_ids_are_kept(tmp_path: Path) -> None:
    roster = staged(tmp_path, line("a#State", sexDescriptor="x", id="y"), "\n", start=b"\xef\xbb\xbf")
    [record] = [json.loads(each) for each in roster.path.read_text().splitlines()]
    assert record == {
        "educationOrganizationReference": {"educationOrganizationId": "", "link": {"rel": ""}},
        "studentReference": {"studentUniqueId": "1"},
        "studentIdentificationCodes": [
            {"studentIdentificationSystemDescriptor": "a#State", "identificationCode": "7"}
        ],
    }


def test_id_types_are_those_of_the_roster_the_most_frequent_first(tmp_path: Path) -> None:
    roster = staged(tmp_path, line("a#State"), line("a#State", "a#School"), line("Local"), line())
    assert (roster.rows, roster.id_types) == (4, ("State", "Local", "School"))


@pytest.mark.parametrize(
    "name", ["{{ 7*7 }}", "a,b", '"', "`x`", "${HOME}", "studentUniqueId", "x" * 65, "", "ä", "a\nb"]
)
def test_an_id_type_that_could_become_code_is_left_out(tmp_path: Path, name: str) -> None:
    assert staged(tmp_path, line(f"a#{name}", "a#State")).id_types == ("State",)


def test_id_types_are_limited(tmp_path: Path) -> None:
    roster = staged(tmp_path, line(*(f"a#T{number}" for number in range(50))))
    assert len(roster.id_types) == MOST_ID_TYPES


def test_json_inside_of_json_is_read(tmp_path: Path) -> None:
    plain = json.loads(line("a#State", educationOrganizationReference={"educationOrganizationId": 5}))
    roster = staged(tmp_path, json.dumps({name: json.dumps(value) for name, value in plain.items()}))
    assert roster.id_types == ("State",)


@pytest.mark.parametrize(
    "faulty",
    ["no json\n", "[]\n", "{}\n", line(student=""), '{"studentReference": "x"}\n', line("a#b")[:-20]],
)
def test_a_line_that_is_no_student_is_named(tmp_path: Path, faulty: str) -> None:
    with pytest.raises(RunFailed, match=r"bad_roster.*line 2"):
        staged(tmp_path, line(), faulty)


def test_an_empty_roster_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="bad_roster"):
        staged(tmp_path, "\n")


RATES = "source_column_name,edfi_column_name,num_matches,num_rows,match_rate\n"


def test_the_best_rate_decides(tmp_path: Path) -> None:
    rows = 'a,Local,1,4,0.25\n"b","State","2","4","0.5"\nbroken\nc,Local,x,4,y\n'
    (tmp_path / matches.RATES).write_text(RATES + rows)
    (tmp_path / matches.UNMATCHED).write_text("h\n1\n2\n")
    found = matches.read(tmp_path)
    assert found.best == matches.Rate(rate=0.5, column="b", id_type="State", rows=4)
    assert found.summary() == {"count": 2, "rate": 0.5}
    found.require(0.5)
    with pytest.raises(RunFailed, match=r"insufficient_matches.* 50\.0%.* 51% .*column b.*type State"):
        found.require(0.51)


@pytest.mark.parametrize("rates", [None, "", RATES])
def test_no_rates_are_no_matches(tmp_path: Path, rates: str | None) -> None:
    if rates is not None:
        (tmp_path / matches.RATES).write_text(rates)
    found = matches.read(tmp_path)
    assert (found.best, found.files, found.summary()) == (None, (), None)
    with pytest.raises(RunFailed, match="insufficient_matches"):
        found.require(0.0)
