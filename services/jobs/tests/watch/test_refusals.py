"""Who may watch what, and how a stream that cannot begin is refused."""

from typing import Any

import pytest

from common.principal import Principal
from common.settings import SettingsError
from jobs.watch import require_greenlets


def client(**more: Any) -> Principal:
    values = {"scopes": frozenset({"read:jobs"}), "partners": frozenset({"acme"}), **more}
    return Principal(kind=values.pop("kind", "client"), subject="somebody", client_id="watcher", **values)


def refusal(stream: Any) -> tuple[int, str]:
    with stream:
        assert stream.answer.headers["Content-Type"] == "application/problem+json"
        return stream.status, stream.answer.read().decode().split('"type": "/problems/')[1].split('"')[0]


@pytest.mark.parametrize("kind", ["stream", "logs/stream"])
def test_another_partners_run_is_not_found(watch: Any, runs: Any, kind: str) -> None:
    run = runs.begin("ea")
    assert refusal(watch.stream(run, kind, client())) == (404, "run-not-found")
    assert refusal(watch.get(f"/v1/runs/{run.number}/{kind}", client())) == (404, "run-not-found")
    both = client(partners=frozenset({"acme", "ea"}))
    with watch.stream(run, kind, both) as stream:
        assert stream.status == 200


@pytest.mark.parametrize("name", ["0b8f6a3c-52c1-4f6e-9a0d-7d1f0f6f2b11", "9" * 18])
def test_a_run_that_is_not_there_is_not_found(watch: Any, name: str) -> None:
    assert refusal(watch.get(f"/v1/runs/{name}/stream", client())) == (404, "run-not-found")


@pytest.mark.parametrize("name", ["x", "-1", "9" * 40, "%00", "0b8f6a3c52c14f6e9a0d7d1f0f6f2b11"])
def test_a_name_that_is_no_runs_is_400(watch: Any, name: str) -> None:
    assert refusal(watch.get(f"/v1/runs/{name}/stream", client())) == (400, "invalid-uuid")


@pytest.mark.parametrize("place", ["x", "-1", "1.5", "9" * 40, "%00", "%C2%B2"])
def test_a_place_that_is_no_events_is_400(watch: Any, runs: Any, place: str) -> None:
    assert refusal(watch.stream(runs.begin(), "stream", client(), f"?after={place}")) == (
        400,
        "invalid-query",
    )


def test_a_last_event_id_that_is_not_ours_is_400(watch: Any, runs: Any) -> None:
    assert refusal(watch.stream(runs.begin(), "stream", client(), Last_Event_ID="x")) == (
        400,
        "invalid-query",
    )


def test_who_may_not_read_jobs_watches_none(watch: Any, runs: Any) -> None:
    powerless = client(scopes=frozenset({"create:jobs"}))
    assert refusal(watch.stream(runs.begin(), "stream", powerless)) == (403, "insufficient-scopes")
    executor = client(kind="run", scopes=frozenset({"read:jobs"}))
    assert refusal(watch.stream(runs.begin(), "stream", executor)) == (403, "wrong-kind-of-token")


def test_head_answers_and_takes_no_place(watch: Any, runs: Any) -> None:
    run = runs.begin()
    for _ in range(101):
        with watch.get(f"/v1/runs/{run.id}/stream", client(), method="HEAD") as stream:
            assert (stream.status, stream.answer.headers["Content-Type"]) == (200, "text/event-stream")
            assert stream.answer.read() == b""


def test_the_process_refuses_to_run_without_greenlets() -> None:
    with pytest.raises(SettingsError, match="WEB_WORKER_CLASS"):
        require_greenlets()


def test_nothing_else_of_jobs_is_served_here(watch: Any, runs: Any) -> None:
    assert refusal(watch.get(f"/v1/runs/{runs.begin().id}", client())) == (404, "not-found")
