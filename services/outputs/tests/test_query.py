"""How `createdAfter` is read, without servers."""

from datetime import UTC, datetime

import pytest

from outputs.query import EARLIEST, LATEST, parse_iso_8601

READ = {
    "2026": datetime(2026, 1, 1, tzinfo=UTC),
    "2026-03": datetime(2026, 3, 1, tzinfo=UTC),
    "2026-03-04": datetime(2026, 3, 4, tzinfo=UTC),
    "2026-03-04T05:06": datetime(2026, 3, 4, 5, 6, tzinfo=UTC),
    "2026-03-04T05:06Z": datetime(2026, 3, 4, 5, 6, tzinfo=UTC),
    "2026-03-04T05:06:07": datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC),
    "2026-03-04T05:06:07Z": datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC),
    "2026-03-04T05:06:07.8Z": datetime(2026, 3, 4, 5, 6, 7, 800_000, tzinfo=UTC),
    "2026-03-04T05:06:07.123456789Z": datetime(2026, 3, 4, 5, 6, 7, 123_456, tzinfo=UTC),
    "2026-03-04T05:06:07+02:00": datetime(2026, 3, 4, 3, 6, 7, tzinfo=UTC),
    "2026-03-04T05:06:07.5-0530": datetime(2026, 3, 4, 10, 36, 7, 500_000, tzinfo=UTC),
    "2024-02-29": datetime(2024, 2, 29, tzinfo=UTC),
    "0001-01-01T00:00+14:00": EARLIEST,
    "9999-12-31T23:59-12:00": LATEST,
}
REFUSED = (
    "", " ", "now", "26", "20260304", "2026-3-4", "2026-13", "2026-02-30", "0000", "2026-03-04 05:06",
    "2026-03-04t05:06", "2026-03-04T05:06z", "2026-03-04T05", "2026-03-04T24:00", "2026-03-04T05:06:60",
    "2026-03-04T05:06:07,5Z", "2026-03-04T05:06:07.Z", "2026-03-04T05:06+2", "2026-03-04T05:06+02",
    "2026-03-04T05:06+25:00", "2026-03-04T05:06+02:60", "2026-03-04T05:06 02:00", "2026-03-04Z", "2026Z",
    "2026-W10", "2026-W10-3", "2026-063", "1767225600", "+2026-01-01", "-2026", "12026-01-01", "2026-03-04\n",
    "\u0662\u0660\u0662\u0666", "2026-03-04T05:06:07Z ", "2026-03-04T05:06:07ZZ",
    "Wed, 04 Mar 2026 05:06:07 GMT", "\0",
)  # fmt: skip


@pytest.mark.parametrize("text", READ)
def test_a_listed_form_is_read(text: str) -> None:
    assert parse_iso_8601(text) == READ[text]


@pytest.mark.parametrize("text", REFUSED)
def test_every_other_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_iso_8601(text)
