"""What became of every run, from the API alone."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from drill.api import Api
from drill.scenes import PARTNERS, Started

FINAL = frozenset(
    ("completed", "failed", "timed_out", "crashed", "dead_letter", "system_failed", "canceled", "expired")
)
JOB_FINAL = frozenset(("completed", "failed", "canceled"))


@dataclass(kw_only=True)
class Counts:
    """The table at the end. Everything but `statuses` and `kinds` must stay empty."""

    statuses: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, Counter[str]] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.stuck or self.wrong)


def all_runs(api: Api) -> dict[str, Any]:
    """List every run of every partner."""
    listed = (run for partner in PARTNERS for run in api.pages("/v1/runs", partner=partner))
    return {run["id"]: run for run in listed}


def unsettled(api: Api, told: Iterable[str]) -> list[str]:
    """Say what is not over: runs without a final status, jobs still publishing, ends nobody was told of."""
    runs = all_runs(api)
    open_runs = [f"run {run['id']} is {run['status']}" for run in runs.values() if run["status"] not in FINAL]
    if open_runs:
        return open_runs
    untold = [f"run {run} was told to nobody" for run in sorted(runs.keys() - set(told))]
    jobs = {run["job_id"] for run in runs.values() if run["status"] == "completed"}
    publishing = [uid for uid in sorted(jobs) if api.get(f"/api/v1/jobs/{uid}")["status"] not in JOB_FINAL]
    return untold + [f"job {uid} is not published" for uid in publishing]


def count(api: Api, started: Sequence[Started], left: Sequence[str], ends: Mapping[str, list[str]]) -> Counts:
    """Count, and name every run that is not as it must be."""
    counts, runs = Counts(stuck=list(left)), all_runs(api)
    kinds = {each.run: each.kind for each in started}
    for run in runs.values():
        counts.statuses[run["status"]] += 1
        counts.kinds.setdefault(kinds.get(run["id"], run["triggered_by"]), Counter())[run["status"]] += 1
        counts.wrong += [f"run {run['id']}: {fault}" for fault in faults_of(api.events(run["id"]))]
    counts.lost += [f"run {each.run} of job {each.job}" for each in started if each.run not in runs]
    details = {run_id: api.get(f"/v1/runs/{run_id}") for run_id in runs}
    counts.wrong += [
        f"run {run_id} failed, which no outage excuses: {run.get('error')}"
        for run_id, run in details.items()
        if run["status"] in ("failed", "system_failed")
    ]
    counts.doubled += [*_sets_twice(api, runs), *_events_twice(details.values())]
    counts.wrong += [*_wrong_ends(runs, ends), *_wrong_results(started, details), *_left_waits(api)]
    counts.wrong += [f"run {each.run}: {each.watched.fault}" for each in started
                     if each.watched and each.watched.fault]  # fmt: skip
    return counts


def faults_of(history: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Check a run's way: each change begins where the last ended, and each lease is claimed once."""
    at, lease, claimed = None, 0, set()
    for change in history:
        if change.get("from") != at:
            yield f"it was {at} and went from {change.get('from')} to {change['to']}"
        if at in FINAL:
            yield f"it was {at}, and became {change['to']}"
        if change["lease"] < lease:
            yield f"lease {change['lease']} came after {lease}"
        if change["to"] == "executing" and change["by"] == "claim":
            if change["lease"] in claimed:
                yield f"lease {change['lease']} was claimed twice"
            claimed.add(change["lease"])
        at, lease = change["to"], change["lease"]


def _sets_twice(api: Api, runs: Mapping[str, Any]) -> Iterator[str]:
    """A completed run publishes one set, every other run none."""
    completed = Counter(run["job_id"] for run in runs.values() if run["status"] == "completed")
    for partner in PARTNERS:
        published = Counter(each["jobUid"] for each in api.output_sets(partner))
        for job, number in published.items():
            if number > completed[job]:
                yield f"job {job} has {number} sets of {completed[job]} completed runs"


def _events_twice(details: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    received: Counter[str] = Counter()
    for run in details:
        result = run.get("result")
        received.update(result.get("received", ()) if isinstance(result, dict) else ())
    yield from (
        f"event {payload} was received {times} times" for payload, times in received.items() if times > 1
    )


def _wrong_ends(runs: Mapping[str, Any], ends: Mapping[str, list[str]]) -> Iterator[str]:
    for run, statuses in ends.items():
        if run not in runs or set(statuses) != {runs[run]["status"]}:
            yield f"run {run} was told as {statuses}"
        if len(statuses) > 1:
            yield f"run {run} was told in {len(statuses)} messages"


def _wrong_results(started: Sequence[Started], details: Mapping[str, Any]) -> Iterator[str]:
    for each in started:
        run = details.get(each.run, {})
        if run.get("status") != "completed":
            continue
        result = run["result"]
        if each.kind in ("event", "caller") and result["received"] != each.sent:
            yield f"run {each.run} was sent {each.sent} and received {result['received']}"
        if each.kind == "family" and any(child["status"] not in FINAL for child in result["children"]):
            yield f"run {each.run} came back before its child ended"
        if each.kind == "retried":
            yield f"run {each.run} completed and was to fail"


def _left_waits(api: Api) -> Iterator[str]:
    for partner in PARTNERS:
        for wait in api.pages("/v1/events", partner=partner):
            yield f"run {wait['run_id']} has left its wait for {wait['event_key']}"
