"""The page of benchmarks and its files."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import load, page
from bench.figures import Target, compared

SAID = """\
Running 1s test @ http://127.0.0.1:20000
  Latency Distribution
     50%  812.00us
     75%    1.10ms
     90%    1.40ms
     99%    2.50ms
  5321 requests in 1.00s, 0.91MB read
Requests/sec:   5310.25
"""
FACTS = {
    "command": "make bench ROW=P1",
    "versions": {"peer": "1.0"},
    "skipped": [],
    "measured_on": "2026-01-01",
    "load": 0.4,
}


def line(row: str, ours: float, peer: str = "a peer") -> page.Line:
    rounds = [{"ours": {"per_second": ours}, "peer": {"per_second": 100.0}}]
    target = Target(number=1.5)
    result = compared(row, "work", rounds, ours="ours", theirs="peer", peer=peer, target=target)
    return {**page.document(result), **FACTS}


def test_a_row_measured_again_takes_the_place_of_its_lines_only(tmp_path: Path) -> None:
    page.write(tmp_path, [line("P3", 300), line("P1", 100, "one"), line("P1", 100, "two")])
    page.write(tmp_path, [line("P1", 200)])

    rows = json.loads((tmp_path / "benchmarks.json").read_text())["rows"]
    assert [(row["id"], row["ratio"]) for row in rows] == [("P1", 2.0), ("P3", 3.0)]


def test_a_row_has_what_readers_of_the_file_expect() -> None:
    assert {"id", "ratio", "target", "peer", "ours", "spread", "command"} <= line("P1", 200).keys()


def test_a_row_that_is_behind_says_so() -> None:
    written = page.page([line("P1", 100), line("P3", 200)])

    rows = [row for row in written.splitlines() if row.startswith("| P")]
    assert ["behind" in row for row in rows] == [True, False]


def test_the_picture_is_well_formed_and_has_a_bar_a_row() -> None:
    drawn = ElementTree.fromstring(page.picture([line("P1", 100, "<a & b>"), line("P3", 200)]))

    assert len(drawn.findall("{*}rect")) == 1 + 2


def test_what_wrk_says_is_read() -> None:
    assert load.read(SAID) == load.Load(requests=5321, per_second=5310.25, p50_ms=0.812, p99_ms=2.5)


@pytest.mark.parametrize("fault", ["Non-2xx or 3xx responses: 7", "Socket errors: connect 0, read 3"])
def test_a_stretch_with_a_refused_answer_measures_nothing(fault: str) -> None:
    with pytest.raises(load.Refused, match=fault[:10]):
        load.read(f"{SAID}{fault}\n")


def test_a_request_ends_its_head_and_tells_the_length_of_its_body() -> None:
    written = load.request("POST", "/jobs", {"Accept": "*/*"}, b"{}")

    assert written == b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nContent-Length: 2\r\n\r\n{}"
