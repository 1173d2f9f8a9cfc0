"""What a handler can do with its run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from executor_sdk import Executor, Refused, Run
from executor_sdk.testing import Platform, etag

Work = Callable[[Run], Any]


@pytest.fixture
def take(executor: Executor, platform: Platform) -> Callable[[Work], str]:
    def take(work: Work) -> str:
        executor.handles("*")(work)
        return executor.take(platform.turn)

    return take


def logged(platform: Platform) -> list[str]:
    return [entry["message"] for body in platform.bodies("log") for entry in body["entries"]]


def test_a_wait_leaves_the_handler_and_a_later_claim_gets_the_payload(
    take: Callable[[Work], str], platform: Platform
) -> None:
    begun: list[Any] = []

    def work(run: Run) -> Any:
        begun.append(run.event)
        run.log("before the wait")
        try:
            return run.wait_for_event("approval", timeout_seconds=60)
        except Exception:
            return "a wait is no Exception"

    assert take(work) == "waiting"
    assert platform.bodies("complete") == platform.bodies("fail") == []
    assert logged(platform) == ["before the wait"]
    assert take(work) == "not_claimed"
    platform.send("approval", {"by": "Ada"})
    assert take(work) == "completed"
    assert begun == [None, {"event_key": "approval", "payload": {"by": "Ada"}}]
    assert platform.bodies("complete")[0]["result"] == {"by": "Ada"}
    assert platform.bodies("wait-for-event")[0] == {"event_key": "approval", "timeout_secs": 60}


def test_an_event_that_came_before_is_received_at_once(
    take: Callable[[Work], str], platform: Platform
) -> None:
    platform.send("approval", 7)
    assert take(lambda run: run.wait_for_event("approval")) == "completed"
    assert platform.bodies("complete")[0]["result"] == 7


@pytest.mark.parametrize("last", ["wait-for-event", "spawn", "complete", "fail"])
def test_log_lines_arrive_before_a_run_waits_or_ends(
    take: Callable[[Work], str], platform: Platform, last: str
) -> None:
    ends: dict[str, Work] = {
        "wait-for-event": lambda run: run.wait_for_event("approval"),
        "spawn": lambda run: run.spawn(bundle="X", await_completion=True),
        "complete": lambda _run: None,
        "fail": lambda run: run.fetch_input("NONE", "nowhere"),
    }

    def work(run: Run) -> Any:
        run.log("first")
        return ends[last](run)

    take(work)
    names = [name for name, _body in platform.calls]
    assert names.index("log") < names.index(last)
    assert "first" in logged(platform)


def test_children_that_are_waited_for_are_spawned_once_each(
    take: Callable[[Work], str], platform: Platform
) -> None:
    def work(run: Run) -> Any:
        first = run.spawn(bundle="assessments/A", payload={"n": 1}, await_completion=True)
        second = run.spawn(bundle="assessments/B", await_completion=True)
        return [first["result"], second["result"]]

    assert take(work) == "waiting"
    platform.end_child(result="one")
    assert take(work) == "waiting"
    platform.end_child(result="two")
    assert take(work) == "completed"
    assert platform.bodies("complete")[0]["result"] == ["one", "two"]
    first, second = platform.bodies("spawn")
    assert first == {
        "job_slug": "assessments/A",
        "project_id": "p",
        "payload": {"n": 1},
        "await_completion": True,
    }
    assert second["job_slug"] == "assessments/B"


def test_the_end_of_a_child_is_not_taken_for_that_of_the_next(
    take: Callable[[Work], str], platform: Platform
) -> None:
    platform.state = {"sdk.spawn.1": {"child": {"id": "child-1"}}, "sdk.spawn.2": {"asked": True}}
    platform.event = {"child": {"id": "child-1"}}

    def work(run: Run) -> Any:
        return [run.spawn(bundle="A", await_completion=True), run.spawn(bundle="B", await_completion=True)]

    assert take(work) == "waiting"
    assert [each["job_slug"] for each in platform.bodies("spawn")] == ["B"]


def test_a_child_that_is_not_waited_for_is_spawned_once_over_the_attempts(
    take: Callable[[Work], str], platform: Platform
) -> None:
    def work(run: Run) -> Any:
        return run.spawn(job_id="j", priority=9)["id"]

    take(work)
    take(work)
    assert platform.bodies("spawn") == [{"job_id": "j", "priority": 9, "await_completion": False}]
    assert [each["result"] for each in platform.bodies("complete")] == ["child-1", "child-1"]


def test_files_are_uploaded_checked_and_sealed(
    take: Callable[[Work], str], platform: Platform, tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n")
    (tmp_path / "b").write_text("[]")

    def work(run: Run) -> None:
        with run.output_set("result") as files:
            files.add(tmp_path / "a.jsonl")
            files.add(tmp_path / "b", name="b.json")

    assert take(work) == "completed"
    assert platform.objects == {"/store/set-1/a.jsonl": b"{}\n", "/store/set-1/b.json": b"[]"}
    assert platform.bodies("output-sets/set-1/seal") == [{}]
    assert platform.bodies("complete")[0]["output_sets"] == ["set-1"]
    declared = platform.bodies("output-sets")[0]
    assert (declared["name"], declared["kind"], declared["sentToOds"]) == ("result", "result", False)


def test_a_set_whose_making_failed_or_that_is_empty_is_not_made(
    take: Callable[[Work], str], platform: Platform, tmp_path: Path
) -> None:
    (tmp_path / "a").write_text("x")

    def work(run: Run) -> None:
        with run.output_set("empty"):
            pass
        with run.output_set("broken") as files:
            files.add(tmp_path / "a")
            raise ValueError

    take(work)
    assert platform.bodies("output-sets") == []


def test_a_checkpoint_is_there_in_the_next_attempt(take: Callable[[Work], str], platform: Platform) -> None:
    def work(run: Run) -> Any:
        before = run.checkpoint()
        run.save_checkpoint({"row": 10})
        return [before, run.checkpoint()]

    take(work)
    take(work)
    first, second = (each["result"] for each in platform.bodies("complete"))
    assert (first, second) == ([None, {"row": 10}], [{"row": 10}, {"row": 10}])


def test_state_is_a_mapping(take: Callable[[Work], str], platform: Platform) -> None:
    def work(run: Run) -> Any:
        run.state["b"], run.state["a"] = 2, 1
        del run.state["b"]
        assert "b" not in run.state
        with pytest.raises(KeyError):
            run.state["b"]
        return [dict(run.state), len(run.state), run.state.get("c", 3)]

    assert take(work) == "completed"
    assert platform.bodies("complete")[0]["result"] == [{"a": 1}, 1, 3]


def test_an_input_is_fetched_as_it_was_at_start(
    take: Callable[[Work], str], platform: Platform, tmp_path: Path
) -> None:
    url = platform.put("i", b"a,b\n")
    platform.payload["inputs"] = {"INPUT_FILE": {"url": url, "size_bytes": 4, "etag": etag(b"a,b\n")}}
    assert take(lambda run: run.fetch_input("INPUT_FILE", tmp_path / "i").read_text()) == "completed"
    assert platform.bodies("complete")[0]["result"] == "a,b\n"


@pytest.mark.parametrize(("key", "code"), [("INPUT_FILE", "input_changed"), ("OTHER", "missing_input")])
def test_an_input_that_is_another_or_missing_fails_the_run(
    take: Callable[[Work], str], platform: Platform, tmp_path: Path, key: str, code: str
) -> None:
    platform.payload["inputs"] = {"INPUT_FILE": {"url": platform.put("i", b"new"), "etag": "old"}}
    assert take(lambda run: str(run.fetch_input(key, tmp_path / "i"))) == code


def test_the_small_calls_send_what_the_api_takes(take: Callable[[Work], str], platform: Platform) -> None:
    def work(run: Run) -> None:
        run.progress(12.34, "reading", step="read")
        run.annotate(source="x")
        run.output("answer", 42, schema={"type": "integer"})
        run.usage("p", "m", total_tokens=3)
        run.tool_call("grep", duration_ms=5)
        run.resources(memory_mb=10)
        run.stream("a", done=True)
        run.continue_as({"page": 2})

    assert take(work) == "completed"
    expected = {
        "progress": {"percent": 12.3, "message": "reading", "step": "read"},
        "annotate": {"annotations": {"source": "x"}},
        "output": {"output_key": "answer", "value": 42, "schema": {"type": "integer"}},
        "usage": {"provider": "p", "model": "m", "total_tokens": 3},
        "tool-call": {"tool_name": "grep", "duration_ms": 5},
        "resources": {"memory_mb": 10, "memory_percent": 0, "cpu_percent": 0},
        "stream": {"chunk": "a", "stream_id": "default", "done": True},
        "continue": {"payload": {"page": 2}},
    }
    assert {name: platform.bodies(name) for name in expected} == {
        name: [body] for name, body in expected.items()
    }


def test_a_handler_may_go_on_after_a_refusal(take: Callable[[Work], str], platform: Platform) -> None:
    problem = b'{"type": "/problems/event-key-taken", "detail": "Another run waits for this event: k"}'
    platform.faults = {"wait-for-event": [(409, {}, problem)]}

    def work(run: Run) -> Any:
        with pytest.raises(Refused) as refused:
            run.wait_for_event("k")
        return refused.value.problem

    assert take(work) == "completed"
    assert platform.bodies("complete")[0]["result"] == "event-key-taken"
