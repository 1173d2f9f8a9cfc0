"""What a stream says, from its beginning to its end, by a running jobs-watch."""

import random
import threading
import time
from itertools import islice
from typing import Any
from uuid import uuid4

import pytest

from common.principal import Principal

SECONDS = 30  # for what must come, on a busy machine


def client(**more: Any) -> Principal:
    values = {"scopes": frozenset({"read:jobs"}), "partners": frozenset({"acme"}), **more}
    return Principal(kind="client", subject=uuid4().hex, client_id="watcher", **values)


def ids(blocks: Any) -> list[int]:
    return [int(block.id) for block in blocks if block.id]


def test_a_stream_begins_with_what_is_stored_and_ends_with_the_run(watch: Any, runs: Any) -> None:
    run = runs.begin()
    runs.log(run, "one", "two")
    with watch.stream(run) as stream:
        assert stream.answer.headers["Content-Type"] == "text/event-stream"
        assert stream.answer.headers["Cache-Control"] == "no-store"
        begun = list(islice(stream.events(), run.event_seq + 2))
        runs.log(run, "three")
        assert stream.next().data["message"] == "three"
        runs.complete(run)
        [status, end] = list(stream.events())  # and there it ends
    assert ids(begun) == list(range(1, run.event_seq + 3))
    assert [block.data["message"] for block in begun if block.event == "log"] == ["one", "two"]
    assert (status.event, status.data["data"]["to"]) == ("status", "completed")
    assert (end.event, end.id) == ("end", "")
    assert end.data == {"run_id": str(run.id), "status": "completed"}


def test_a_run_that_is_over_is_told_and_ends_at_once(watch: Any, runs: Any) -> None:
    run = runs.begin()
    runs.complete(run)
    for target in (f"/v1/runs/{run.id}/stream", f"/v1/runs/{run.number}/stream"):
        with watch.get(target) as stream:
            told = list(stream.events())
        assert ids(told) == list(range(1, run.event_seq + 2))
        assert told[-1].data["status"] == "completed"


def test_the_stream_of_the_log_holds_its_lines_alone(watch: Any, runs: Any) -> None:
    run = runs.begin()
    runs.log(run, "kept")
    runs.log(run, "another type", type="progress")
    with watch.stream(run, "logs/stream") as stream:
        assert stream.next().data["message"] == "kept"
        runs.log(run, "not this", type="usage")
        runs.log(run, "live")
        assert stream.next().data["message"] == "live"
        runs.complete(run)
        assert [block.event for block in stream.events()] == ["end"]


def test_a_long_history_comes_whole_and_in_order(watch: Any, runs: Any) -> None:
    run = runs.begin()
    for first in range(0, 1500, 500):
        runs.log(run, *(str(number) for number in range(first, first + 500)))
    with watch.stream(run) as stream:
        told = list(islice(stream.events(), run.event_seq + 1500))
        runs.log(run, *(str(number) for number in range(1500, 2000)))  # more than one page at once
        told += list(islice(stream.events(), 500))
    assert ids(told) == list(range(1, run.event_seq + 2001))


@pytest.mark.parametrize("kind", ["stream", "logs/stream"])
def test_coming_back_again_and_again_neither_misses_nor_repeats(watch: Any, runs: Any, kind: str) -> None:
    run, chance = runs.begin(), random.Random(kind)

    def write() -> None:
        for number in range(400):
            runs.log(run, *(f"{number}.{place}" for place in range(chance.randrange(1, 6))))
        runs.complete(run)

    writer = threading.Thread(target=write)
    writer.start()
    told: list[Any] = []
    headers: dict[str, str] = {}
    caller = client()
    deadline = time.monotonic() + 4 * SECONDS
    while not (told and told[-1].event == "end"):
        assert time.monotonic() < deadline
        with watch.stream(run, kind, caller, **headers) as stream:
            told += islice(stream.events(), random.randrange(1, 120))
            headers = {"Last_Event_ID": stream.last_id} if stream.last_id else {}
    writer.join()
    if kind == "stream":
        assert ids(told) == list(range(1, runs.seq(run.id) + 1))
    else:  # the history begins with moves and ends with one
        assert ids(told) == list(range(run.event_seq + 1, runs.seq(run.id)))


def test_the_header_wins_over_the_query(watch: Any, runs: Any) -> None:
    run = runs.begin()
    runs.log(run, *"abc")
    runs.complete(run)
    last = runs.seq(run.id)
    with watch.stream(run, query=f"?after={last - 2}") as stream:
        assert ids(stream.events()) == [last - 1, last]
    with watch.stream(run, query="?after=0", Last_Event_ID=str(last - 1)) as stream:
        assert ids(stream.events()) == [last]
    with watch.stream(run, query=f"?after={10**9 - 1}") as stream:
        assert [block.event for block in stream.events()] == ["end"]


LINES = (
    "\x1b[31mred\x1b[0m",
    "a\r\nb\n\ndata: c",
    "\u2028\u2029\u0085",
    'quote " \\ back',
    "\ud83d\ude00 é",
    "id: 7",
)


@pytest.mark.parametrize("line", LINES)
def test_whatever_a_line_holds_arrives_as_one_line_of_json(watch: Any, runs: Any, line: str) -> None:
    line = line.encode("utf-16", "surrogatepass").decode("utf-16")
    run = runs.begin()
    runs.log(run, line)
    with watch.stream(run, "logs/stream") as stream:
        assert stream.next().data["message"] == line


def test_the_type_an_executor_gave_cannot_break_the_stream(watch: Any, runs: Any) -> None:
    run = runs.begin()
    runs.log(run, "x", type="a\nevent: end\r\n\r\nb")
    with watch.stream(run, query=f"?after={run.event_seq}") as stream:
        block = stream.next()
    assert block.event == "a event: end    b"
    assert block.data["type"] == "a\nevent: end\r\n\r\nb"


def test_a_silent_stream_sends_comments_and_a_hint_when_to_come_back(watch: Any, runs: Any) -> None:
    with watch.stream(runs.begin()) as stream:
        assert stream.answer.readline() == b"retry: 2000\n"
        comments = [block.comment for block in islice((each for each in stream if each.comment), 3)]
    assert comments == [": still here"] * 3


def test_a_stream_ends_with_the_token_and_not_with_the_run(watch: Any, runs: Any) -> None:
    run, begun = runs.begin(), time.time()
    with watch.stream(run, caller=client(expires_at=int(begun) + 2)) as stream:
        assert [block.event for block in stream.events() if block.event == "end"] == []
    assert time.time() - begun < SECONDS


def test_a_caller_has_a_hundred_streams_and_gets_a_place_back(watch: Any, runs: Any) -> None:
    run, caller = runs.begin(), client()
    streams = [watch.stream(run, caller=caller) for _ in range(100)]
    with watch.stream(run, caller=caller) as refused:
        problem = refused.answer.read()
        assert refused.status == 429
        assert refused.answer.headers["Retry-After"] == "5"
        assert b"/problems/too-many-streams" in problem
    with watch.stream(run) as another:
        assert another.status == 200
    for stream in streams:
        with stream:
            assert stream.status == 200
    deadline = time.monotonic() + SECONDS
    while True:  # the next comments find that they are gone
        with watch.stream(run, caller=caller) as again:
            if again.status == 200:
                break
        assert time.monotonic() < deadline


def test_a_nudge_brings_an_event_long_before_the_next_tick(new_watch: Any, runs: Any) -> None:
    run = runs.begin()
    with new_watch(tick_seconds="60") as slow, slow.stream(run, query=f"?after={run.event_seq}") as stream:
        runs.log(run, "now")
        assert stream.next().data["message"] == "now"


def test_streams_end_when_the_process_is_told_to_stop(new_watch: Any, runs: Any) -> None:
    run = runs.begin()
    with new_watch() as leaving, leaving.stream(run, query=f"?after={run.event_seq}") as stream:
        leaving.server.stop(timeout_seconds=2 * SECONDS)
        assert list(stream.events()) == []
        told = leaving.server.log.read_text()
    assert "Shutting down" in told
    assert "graceful timeout" not in told  # as gunicorn says when it gives up waiting
