"""What a run said, kept, put out and used."""

import json
from typing import Any

import pytest

from common.database import transaction
from jobs.deliveries import outcomes
from jobs.deliveries.tables import Delivery
from jobs.engine import family, watching
from jobs.engine.journal import Entry

STRANGE = (
    "\x1b[31mred\x1b[0m",
    "\r\n\t\x00x".replace("\x00", ""),
    "😀 \u2028 \u202e",
    "\"}\\u0000{'",
    "\x7f\x85",
)


def test_a_thousand_events_and_more_page_completely(worked: Any, walk: Any, look: Any) -> None:
    run = worked()
    run.lines(*map(str, range(1_203)))
    shown = walk(f"/{run.run.id}/events", "type=log")
    assert [event["message"] for event in shown] == [str(number) for number in range(1_203)]
    assert len(look(f"/{run.run.id}/events")["items"]) == 100
    everything = walk(f"/{run.run.id}/events", "limit=1000")
    assert [event["id"] for event in everything] == list(range(1, 1_207))


def test_a_page_is_bounded_in_bytes_and_says_that_it_was_cut(
    worked: Any, walk: Any, look: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "PAGE_BYTES", 10_000)
    run = worked()
    run.lines("a" * 20_000, "b" * 9_000, "c" * 9_000, "d")
    run.put("a", "x", schema={"description": "x" * 20_000})
    run.put("b", "y" * 20_000)
    run.put("c", "z")
    target = f"/{run.run.id}/logs"
    assert [event["message"][0] for event in look(target)["items"]] == ["a"]
    assert [event["message"][0] for event in walk(target)] == ["a", "b", "c", "d"]
    assert len(look(f"/{run.run.id}/outputs")["items"]) == 1
    assert [output["key"] for output in walk(f"/{run.run.id}/outputs")] == ["a", "b", "c"]
    assert len(look(f"/{run.run.id}/outputs?after=a")["items"]) == 1


def test_a_level_chooses_that_level_and_above(worked: Any, look: Any) -> None:
    run = worked()
    levels = ("trace", "debug", "info", "notice", "warn", "warning", "error", "fatal", "critical")
    run.log(*(Entry(type="log", level=level, data={"message": level}) for level in levels))

    def shown(level: str) -> list[str]:
        return [event["message"] for event in look(f"/{run.run.id}/logs?level={level}")["items"]]

    assert shown("trace") == shown("") == list(levels)
    assert shown("notice") == list(levels[3:])
    assert shown("warn") == shown("warning") == list(levels[4:])
    assert shown("critical") == shown("fatal") == ["fatal", "critical"]
    events = look(f"/{run.run.id}/events?level=error&type=log")["items"]
    assert [event["level"] for event in events] == ["error", "fatal", "critical"]


def test_logs_are_what_the_run_said_and_not_its_history(worked: Any, look: Any) -> None:
    run = worked()
    run.lines("one")
    run.log(Entry(type="my-own", data={"message": "two", "data": {"n": 1}}))
    run.used()
    run.log(Entry(type="stream", data={"chunk": "x", "stream_id": "default", "done": False}))
    shown = look(f"/{run.run.id}/logs")["items"]
    assert [(event["type"], event["message"]) for event in shown] == [("log", "one"), ("my-own", "two")]
    assert shown[1]["data"] == {"n": 1}
    [chunk] = look(f"/{run.run.id}/events?type=stream")["items"]
    assert chunk["data"] == {"chunk": "x", "stream_id": "default", "done": False}


def test_a_list_goes_on_after_the_last_event_seen(worked: Any, look: Any) -> None:
    run = worked()
    run.lines("one", "two")
    last = look(f"/{run.run.id}/events")["items"][-1]["id"]
    assert look(f"/{run.run.id}/events?after={last}") == {"items": [], "next": None}
    run.lines("three")
    assert [event["message"] for event in look(f"/{run.run.id}/events?after={last}")["items"]] == ["three"]


def test_strange_characters_of_log_lines_survive(worked: Any, ask: Any) -> None:
    run = worked()
    run.lines(*STRANGE)
    answer = ask(f"/{run.run.id}/logs")
    assert [event["message"] for event in json.loads(answer.data)["items"]] == list(STRANGE)


def test_what_was_published_is_in_the_events_and_not_in_the_log(worked: Any, look: Any, engine: Any) -> None:
    run = worked().run
    published = [{"uid": "5a1c4b1e-7f6c-4f57-9a51-3f1d2b7c9e10", "kind": "result", "name": "result"}]
    with transaction(engine) as connection:
        outcome = {"run": str(run.id), "lease": run.lease}
        delivery = Delivery(
            id=1, kind="outcome", reference=outcome, tries=1, created_at=run.created_at, webhook_id=None
        )
        outcomes.store(connection, [(delivery, {"sets": published})])
    [event] = look(f"/{run.id}/events?type=published")["items"]
    assert event["data"] == {"output_sets": published}
    assert "published" not in {event["type"] for event in look(f"/{run.id}/logs")["items"]}


def test_the_history_has_each_change_of_status_and_its_time(worked: Any, engine: Any, walk: Any) -> None:
    run = worked()
    run.lines("noise")
    with transaction(engine) as connection:
        family.request_cancel(connection, run.run.id)
    changes = walk(f"/{run.run.id}/history", "limit=1")
    assert [change["to"] for change in changes] == ["queued", "dequeued", "executing"]
    assert [change.get("from") for change in changes] == [None, "queued", "dequeued"]
    assert all(change["at"].endswith("Z") for change in changes)
    assert changes[2]["executor"] == "x"


def test_checkpoints_are_listed_oldest_first_without_secrets(worked: Any, look: Any) -> None:
    run = worked()
    run.checkpoint({"row": 1})
    run.checkpoint({"url": "http://s3/a?X-Amz-Signature=abc"})
    shown = look(f"/{run.run.id}/checkpoints")
    assert [kept["sequence"] for kept in shown["items"]] == [1, 2]
    assert shown["items"][0]["state"] == {"row": 1}
    assert "X-Amz-Signature" not in str(shown)


def test_outputs_are_listed_by_key_page_by_page(worked: Any, walk: Any) -> None:
    run = worked()
    for key in ("b", "a", "ä/ö?", "c"):
        run.put(key, {"of": key})
    shown = walk(f"/{run.run.id}/outputs", "limit=100")
    assert {output["key"]: output["value"]["of"] for output in shown} == {
        key: key for key in ("a", "b", "c", "ä/ö?")
    }
    first = walk(f"/{run.run.id}/outputs", "limit=3")
    assert [output["id"] for output in first] == [output["id"] for output in shown]


def test_usage_has_every_call_and_the_totals_of_all(worked: Any, look: Any, walk: Any) -> None:
    run = worked()
    for number in range(3):
        run.used(model=f"m{number}", cost_microusd=10**12)
    assert [call["model"] for call in walk(f"/{run.run.id}/usage", "limit=1")] == ["m0", "m1", "m2"]
    totals = {"calls": 3, "prompt_tokens": 3, "completion_tokens": 6, "total_tokens": 9}
    assert look(f"/{run.run.id}/usage?limit=1")["totals"] == {**totals, "cost_microusd": 3 * 10**12}
    assert look(f"/{worked().run.id}/usage")["totals"] == dict.fromkeys([*totals, "cost_microusd"], 0)


@pytest.mark.parametrize(
    ("target", "detail"),
    [
        ("events?level=loud", "level must be one of trace, debug"),
        ("events?after=-1", "after must be the id of an event"),
        ("events?after=x", "after must be the id of an event"),
        ("events?after=1&after=2", "after must be given once"),
        ("events?type=a&type=b", "type must be given once"),
        ("events?type=%00", "type must not hold NUL"),
        ("logs?limit=1001", "limit must be a whole number"),
        ("history?limit=x", "limit must be a whole number"),
        ("outputs?after=%00", "after must not hold NUL"),
        ("children?cursor=x", "cursor is not one of ours"),
        ("usage?after=9999999999", "after must be the id of an event"),
    ],
)
def test_a_faulty_query_is_told(worked: Any, ask: Any, target: str, detail: str) -> None:
    answer = ask(f"/{worked().run.id}/{target}")
    assert answer.status_code == 400, answer.text
    assert answer.get_json()["detail"].startswith(detail)
