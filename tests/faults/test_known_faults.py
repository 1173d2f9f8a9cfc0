"""The known faults of systems like this one (executor-api.md §4), and that none of them is here."""

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from urllib.parse import quote

import pytest
import redis
import urllib3
from driving import Client, client_of
from executing import Claimed, claim, pop, serving
from receiving import receiving
from streaming import watched

from executor_sdk import LeaseLost, Run, RunFailed
from stack.testing import LocalStack

pytestmark = pytest.mark.faults

ECHO = "tests/echo"
CALLER = {"executor": "caller"}
FINAL = ("completed", "failed", "timed_out", "crashed", "dead_letter", "system_failed", "canceled", "expired")
LINE = "jobs:line:default"
TICKS = "taxiway_dispatcher_ticks_total"
SMALLEST_WINDOW = 8
HEARTBEAT_TIMEOUT_SECONDS = 2.0  # of `fault_stack`


@pytest.fixture(scope="module")
def stack(fault_stack: LocalStack) -> Iterator[LocalStack]:
    """The stack without its executor: these tests take the turns."""
    with fault_stack.stopped("executor"):
        yield fault_stack


@pytest.fixture(scope="module")
def ea(stack: LocalStack) -> Client:
    return client_of(stack)


def start(client: Client, body: Any = None) -> str:
    """Start a run of a new job and return its id."""
    return str(started(client, body)["runUid"])


def started(client: Client, body: Any = None) -> Any:
    return client.call("POST", f"/api/v1/jobs/{uploaded(client)}/start", body)


def uploaded(client: Client) -> str:
    made = client.create(ECHO, {"INPUT_FILE": "input.csv"})
    client.upload(made["uploadUrls"]["INPUT_FILE"], b"one\n")
    return str(made["uid"])


def run_of(client: Client, run: str) -> Any:
    return client.call("GET", f"/v1/runs/{run}")


def ended(client: Client, run: str) -> Any:
    """Wait until a run is over."""
    until(lambda: run_of(client, run)["status"] in FINAL)
    return run_of(client, run)


def history(client: Client, run: str) -> list[Any]:
    return list(client.call("GET", f"/v1/runs/{run}/history?limit=1000")["items"])


def send(client: Client, key: str, payload: Any) -> None:
    client.call("POST", f"/v1/events/{quote(key)}/send", {"payload": payload})


def until(reached: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


def waits(client: Client, key: str) -> list[Any]:
    """List who waits for a key, as clients see it."""
    return [each for each in client.call("GET", "/v1/events?partner=ea")["items"] if each["event_key"] == key]


def test_a_waiting_parent_resumes_however_its_child_ends(stack: LocalStack, ea: Client) -> None:
    """A waiting parent never resumes."""
    ways = ("completes", "fails", "is canceled", "times out")

    def work(run: Run) -> Any:
        way = (run.input or {}).get("way")
        if way is None:
            inputs = [{"way": way} for way in ways]
            return [run.spawn(bundle=ECHO, payload=each, await_completion=True)["status"] for each in inputs]
        if way == "fails":
            raise RunFailed("as asked")
        if way == "is canceled":
            run.wait_for_event("never")
        if way == "times out":
            run.wait_for_event("in-vain", timeout_seconds=1)
        return None

    with serving(stack, work):
        parent = start(ea)
        until(lambda: bool(waits(ea, "never")))
        ea.call("POST", f"/v1/runs/{waits(ea, 'never')[0]['run_id']}/cancel")
        assert ended(ea, parent)["result"] == ["completed", "failed", "canceled", "timed_out"]


def children(client: Client, run: str) -> list[Any]:
    return list(client.call("GET", f"/v1/runs/{run}/children")["items"])


def test_the_payload_of_an_event_reaches_the_run_it_resumed(stack: LocalStack, ea: Client) -> None:
    """The event's payload does not reach the resumed run."""
    with serving(stack, lambda run: run.wait_for_event("payload")):
        run = start(ea)
        until(lambda: bool(waits(ea, "payload")))
        send(ea, "payload", {"by": "Ada"})
        assert ended(ea, run)["result"] == {"by": "Ada"}
    kept = ea.call("GET", f"/v1/runs/{run}/checkpoints")["items"]
    assert [each["state"] for each in kept if each["source"] == "event"] == [{"by": "Ada"}]


def test_time_in_line_and_in_waiting_takes_nothing_of_a_token(stack: LocalStack, ea: Client) -> None:
    """Tokens fixed at trigger time expire in line."""
    run = start(ea)
    first = claim(stack, run)
    first.api.post("wait-for-event", {"event_key": "token"})
    sent_at = time.time()
    send(ea, "token", None)
    second = claim(stack, run)
    timeout = run_of(ea, run)["timeout_secs_override"]
    assert life(second)["exp"] >= int(sent_at) + timeout
    assert life(second)["iat"] >= int(sent_at)
    second.api.post("complete", {})


def life(claimed: Claimed) -> Any:
    body = claimed.api._token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def test_who_waited_may_not_write_once_another_has_the_resumed_run(stack: LocalStack, ea: Client) -> None:
    """An old executor's token is valid again after a resume."""
    run = start(ea)
    first = claim(stack, run)
    first.api.post("wait-for-event", {"event_key": "stale"})
    send(ea, "stale", 1)
    second = claim(stack, run)
    for path, body in (("log", {"message": "m"}), ("heartbeat", {}), ("complete", {"result": "old"})):
        with pytest.raises(LeaseLost):
            first.api.post(path, body)
    second.api.post("complete", {"result": "new"})
    assert run_of(ea, run)["result"] == "new"


def test_every_way_to_an_end_is_told_to_webhooks(stack: LocalStack, ea: Client) -> None:
    """Complete and fail skip the webhooks and chaining that other paths do."""
    with receiving() as (url, heard):
        events = ["run.completed", "run.failed"]
        webhook = ea.call("POST", "/v1/webhooks", {"partner": "ea", "url": url, "events": events})
        ways = {start(ea): way for way in ("completed", "failed", "canceled")}
        ways[start(ea, CALLER)] = "crashed"  # nobody beats its heart
        for run, way in ways.items():
            if way == "canceled":
                ea.call("POST", f"/v1/runs/{run}/cancel")
            elif way != "crashed":
                end, body = ("complete", {}) if way == "completed" else ("fail", {"error": "as asked"})
                claim(stack, run).api.post(end, body)

        def told() -> dict[str, str]:
            said = (json.loads(body)["data"] for _, body in list(heard))
            return {each["run_id"]: each["status"] for each in said if each["run_id"] in ways}

        until(lambda: told() == ways)
        ea.call("DELETE", f"/v1/webhooks/{webhook['id']}")


def test_a_live_stream_goes_on_after_a_break_and_ends_with_its_run(stack: LocalStack, ea: Client) -> None:
    """Live streams never end and cannot be resumed."""

    def work(run: Run) -> None:
        run.wait_for_event("go-on")
        run.log("while away")

    with serving(stack, work):
        run = start(ea)
        path = f"/v1/runs/{run}/stream"
        with watched(stack, ea, path) as stream:
            seen = [next(stream) for _ in range(4)]
        stack.kill("jobs-watch")
        send(ea, "go-on", None)
        stack.wait_ready("jobs-watch", "gateway")
        with watched(stack, ea, path, last_id=seen[-1]["id"]) as stream:
            seen += list(stream)
    assert [int(each["id"]) for each in seen[:-1]] == list(range(1, len(seen)))
    assert "while away" in [json.loads(each["data"]).get("message") for each in seen]
    assert json.loads(seen[-1]["data"])["status"] == "completed"


def test_an_event_sent_as_the_wait_begins_is_received(stack: LocalStack, ea: Client) -> None:
    """An event sent just before the wait is lost."""
    run = start(ea)
    held = claim(stack, run)
    send(ea, "just-before", 0)
    assert held.api.post("wait-for-event", {"event_key": "just-before"})["payload"] == 0
    for number in range(1, 8):
        key = f"at-once-{number}"
        with ThreadPoolExecutor(1) as threads:
            sending = threads.submit(send, ea, key, number)
            answer = held.api.post("wait-for-event", {"event_key": key})
            sending.result()
        if answer["status"] == "waiting":
            held = claim(stack, run)
            answer = held.claim.event
        assert answer["payload"] == number
    held.api.post("complete", {})


def test_heartbeats_from_one_address_are_not_throttled(stack: LocalStack, ea: Client) -> None:
    """A per-IP rate limit throttles executors' heartbeats."""
    answer = started(ea, CALLER)
    headers = {"Authorization": f"Bearer {answer['runToken']}"}
    path = f"/sdk/v1/runs/{answer['runUid']}/heartbeat"
    with ThreadPoolExecutor(4) as threads:
        beats = threads.map(lambda _: ea.send("POST", path, {}, **headers).status, range(400))
        assert set(beats) == {200}
    ea.send("POST", path.replace("heartbeat", "complete"), {}, **headers)


def test_a_canceled_run_leaves_no_wait_behind(stack: LocalStack, ea: Client) -> None:
    """Cancelling a waiting run leaves its trigger behind."""
    run = start(ea)
    claim(stack, run).api.post("wait-for-event", {"event_key": "left"})
    assert [each["run_id"] for each in waits(ea, "left")] == [run]
    ea.call("POST", f"/v1/runs/{run}/cancel")
    assert run_of(ea, run)["status"] == "canceled"
    assert waits(ea, "left") == []
    send(ea, "left", "for the next")
    with serving(stack, lambda run: run.wait_for_event("left")):
        assert ended(ea, start(ea))["result"] == "for the next"


def test_every_event_of_a_run_is_found_page_by_page(stack: LocalStack, ea: Client) -> None:
    """Paging a run's events stops at the first 100."""
    run = start(ea)
    held = claim(stack, run)
    held.api.post("log", {"entries": [{"message": str(number)} for number in range(250)]})
    held.api.post("complete", {})
    found: list[Any] = []
    after: int | None = 0
    while after is not None:
        page = ea.call("GET", f"/v1/runs/{run}/events?after={after}")
        found, after = found + page["items"], page["next"]
    assert [each["id"] for each in found] == list(range(1, len(found) + 1))
    assert [each["message"] for each in found if each["type"] == "log"] == list(map(str, range(250)))


def test_a_stream_stands_whatever_a_line_of_the_log_holds(stack: LocalStack, ea: Client) -> None:
    """An escape character in a log line breaks the stream."""
    run = start(ea)
    held = claim(stack, run)
    line = '\x1b[31mred\x1b[0m \\ " \r\n\ndata: {} \u2028 \U0001f600'
    held.api.post("log", {"message": line})
    held.api.post("complete", {})
    with watched(stack, ea, f"/v1/runs/{run}/logs/stream") as stream:
        told = [json.loads(each["data"]) for each in stream]
    assert [each.get("message") for each in told] == [line, None]


def test_a_parent_waits_for_a_child_or_does_not_wait(stack: LocalStack, ea: Client) -> None:
    """Spawning in three transactions leaves a waiting parent with no child."""
    parents = [start(ea) for _ in range(6)]
    held = [claim(stack, run) for run in parents]
    body = {"job_slug": ECHO, "project_id": "ea", "await_completion": True}

    def spawn(claimed: Claimed) -> None:
        try:
            claimed.api.post("spawn", body)
        except LeaseLost:
            return  # reaped while nobody answered

    with ThreadPoolExecutor(len(held)) as threads:
        spawning = [threads.submit(spawn, each) for each in held]
        stack.kill("jobs")
        for each in spawning:
            each.result()
    stack.wait_ready("jobs", "gateway")
    for run in parents:
        made = len(children(ea, run))
        assert made == (1 if run_of(ea, run)["status"] == "waiting" else 0)
    with serving(stack, lambda _run: None):
        assert {ended(ea, run)["status"] for run in parents} == {"completed"}


def test_simultaneous_starts_make_one_run(stack: LocalStack, ea: Client) -> None:
    """Two simultaneous starts make two runs."""
    job = uploaded(ea)
    together = threading.Barrier(6)

    def begin(_: int) -> int:
        together.wait(10)
        return ea.send("POST", f"/api/v1/jobs/{job}/start").status

    with ThreadPoolExecutor(6) as threads:
        assert sorted(threads.map(begin, range(6))) == [202, 400, 400, 400, 400, 400]
    assert len(ea.job(job)["runs"]) == 1
    ea.call("POST", f"/api/v1/jobs/{job}/cancel")


def test_a_launch_that_dies_early_is_launched_again(stack: LocalStack, ea: Client) -> None:
    """A launch that dies early leaves the run in progress for ever."""
    run, abandoned = start(ea), started(ea, CALLER)
    pop(stack, run)  # and die before the claim
    with serving(stack, lambda _run: "done"):
        assert ended(ea, run)["result"] == "done"
        assert ended(ea, abandoned["runUid"])["status"] == "crashed"
        again = ea.call("POST", f"/api/v1/jobs/{abandoned['jobUid']}/start")
        assert ended(ea, again["runUid"])["status"] == "completed"


def test_a_deep_line_pushes_each_turn_once(stack: LocalStack, ea: Client) -> None:
    """A deep line re-pushes itself."""
    parent = started(ea, CALLER)
    headers = {"Authorization": f"Bearer {parent['runToken']}"}

    def tell(path: str, body: Any) -> None:
        assert ea.send("POST", f"/sdk/v1/runs/{parent['runUid']}/{path}", body, **headers).status < 300

    def has_compared() -> bool:
        tell("heartbeat", {})
        return metric(stack, TICKS) > ticks + 20  # each comparison is a few ticks after the last

    for _ in range(30):
        tell("spawn", {"job_slug": ECHO, "project_id": "ea"})
    with closing(redis.Redis.from_url(stack.redis_url("jobs"))) as line:
        until(lambda: line.llen(LINE) == SMALLEST_WINDOW)
        pushed, ticks = line.lrange(LINE, 0, -1), metric(stack, TICKS)
        until(has_compared)
        assert line.lrange(LINE, 0, -1) == pushed
    ea.call("POST", f"/v1/runs/{parent['runUid']}/cancel")
    tell("fail", {"error": "canceled"})
    assert ended(ea, parent["runUid"])["status"] == "canceled"
    changes = [change for each in children(ea, parent["runUid"]) for change in history(ea, each["id"])]
    assert {change["lease"] for change in changes} == {0, 1}


def metric(stack: LocalStack, name: str) -> float:
    page = urllib3.request(
        "GET", f"http://127.0.0.1:{stack.metrics_port('dispatcher')}/metrics"
    ).data.decode()
    return next(float(line.split()[-1]) for line in page.splitlines() if line.startswith(name))


def test_the_run_of_a_silent_executor_is_back_in_line_within_seconds(stack: LocalStack, ea: Client) -> None:
    """A killed worker's task comes back only after a minute and a half."""
    run = start(ea)
    claim(stack, run)  # and never be heard of again
    silent_since = time.monotonic()
    until(lambda: history(ea, run)[-1]["to"] == "queued" or run_of(ea, run)["attempt"] > 1)
    assert time.monotonic() - silent_since < 10 * HEARTBEAT_TIMEOUT_SECONDS
    with serving(stack, lambda run: run.attempt):
        assert ended(ea, run)["result"] == 2
