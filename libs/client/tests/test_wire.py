"""What is read from the wire."""

from taxiway.jobs import Unmatched
from taxiway.wire import read


def test_a_report_without_a_count_is_read_as_one_of_a_failed_run() -> None:
    found = read(Unmatched, {"count": None, "rate": None, "downloadUrl": "/api/v1/output-sets/1"})
    assert (found.count, found.rate, bool(found.download_url)) == (None, None, True)
