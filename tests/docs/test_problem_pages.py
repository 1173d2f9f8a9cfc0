"""Every problem type a process can answer has a page, and every page a type (external-api.md §2)."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from common import problems

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = REPOSITORY / "docs" / "problems"
ANSWERING = ("libs/common/src", "services/auth-gateway/src", "services/jobs/src", "services/outputs/src")
STATUS = re.compile(r"^Status: (\d{3}(?:, \d{3})*)$", re.MULTILINE)

MAKERS: dict[str, tuple[int | None, int | None]] = {
    "Problem": (None, None),
    "bad_request": (1, 400),
    "forbidden": (1, 403),
    "_forbidden": (1, 403),
    "not_found": (1, 404),
    "conflict": (1, 409),
    "gone": (1, 410),
    "Refused": (0, None),
    "PlaceUnknown": (0, 404),
    "_refuse_any": (0, None),
}
"""Who makes a problem: where its type stands among the arguments (None: by name only), and its status."""
HANDED_ON = ("type", "rule")
"""What a maker calls the type it hands on to another maker; anywhere else a type is a literal."""


@dataclass(frozen=True, kw_only=True)
class Raised:
    """A type as the code raises it; the status where it stands beside it."""

    type: str
    status: int | None
    place: str


def makers_called(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in MAKERS:
                yield name, node


def argument(call: ast.Call, place: int | None, name: str) -> ast.expr | None:
    named = next((word.value for word in call.keywords if word.arg == name), None)
    if named is None and place is not None and len(call.args) > place:
        return call.args[place]
    return named


def types_in(path: Path) -> Iterator[Raised]:
    for name, call in makers_called(ast.parse(path.read_text(encoding="utf-8"))):
        place, status = MAKERS[name]
        given, stated = argument(call, place, "type"), argument(call, None, "status")
        where = f"{path.relative_to(REPOSITORY)}:{call.lineno}"
        if isinstance(given, ast.Constant):
            known = stated.value if isinstance(stated, ast.Constant) else status
            if given.value:
                yield Raised(
                    type=str(given.value), status=known if isinstance(known, int) else None, place=where
                )
        elif given is not None:
            handed_on = given.attr if isinstance(given, ast.Attribute) else getattr(given, "id", "")
            assert handed_on in HANDED_ON, (
                f"{where}: a problem's type must be a literal, to be found and documented"
            )


def raised() -> list[Raised]:
    files = sorted(path for folder in ANSWERING for path in (REPOSITORY / folder).rglob("*.py"))
    named = [each for path in files for each in types_in(path)]
    by_status = [
        Raised(type=code.replace("_", "-"), status=status, place="common.problems.CODES")
        for status, code in problems.CODES.items()
    ]
    return [*named, *by_status]


RAISED = raised()
WRITTEN = {
    path.stem: path.read_text(encoding="utf-8") for path in PAGES.glob("*.md") if path.stem != "README"
}


def statuses(page: str) -> list[int]:
    found = STATUS.search(page)
    return [int(status) for status in found[1].split(", ")] if found else []


def test_every_type_the_code_raises_has_a_page() -> None:
    missing = {each.type: each.place for each in RAISED if each.type not in WRITTEN}
    assert not missing


def test_every_page_is_of_a_type_the_code_raises() -> None:
    assert set(WRITTEN) <= {each.type for each in RAISED}


def test_a_page_names_every_status_its_type_comes_with() -> None:
    wrong = {
        each.place: each.type
        for each in RAISED
        if each.status is not None and each.status not in statuses(WRITTEN[each.type])
    }
    assert not wrong


@pytest.mark.parametrize("type", sorted(WRITTEN))
def test_a_page_is_short_and_says_what_it_is_and_what_to_do(type: str) -> None:
    lines = WRITTEN[type].splitlines()
    assert lines[0] == f"# /problems/{type}"
    assert STATUS.search(WRITTEN[type])
    assert "**What to do.**" in WRITTEN[type]
    assert 5 <= len(lines) <= 15


def test_types_are_written_in_kebab_case() -> None:
    assert [each for each in RAISED if not re.fullmatch(r"[a-z]+(-[a-z]+)*", each.type)] == []


def test_the_index_lists_every_page_with_its_status_and_nothing_else() -> None:
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[`([a-z-]+)`\]\(([a-z-]+)\.md\) \| ([0-9, ]+) \|", index, re.MULTILINE)
    listed = {
        name: [int(status) for status in column.split(", ")] for name, link, column in rows if name == link
    }
    assert listed == {name: statuses(page) for name, page in WRITTEN.items()}
    assert len(rows) == len(listed)
