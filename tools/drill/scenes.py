"""The kinds of runs the drill starts, and what becomes of each while its parts are killed."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from drill.api import TENANT, YEAR, Api, Refused, Unanswered
from drill.executor import EVENTS, STEPS
from drill.watching import Watched, watch

PARTNERS = ("north", "south", "west")
ECHO = "tests/echo"
SUBMITTERS = 12
WATCHED = 10  # one run in so many is followed live


@dataclass(kw_only=True)
class Started:
    """What the drill knows of a run it has started."""

    kind: str
    partner: str
    job: str
    run: str
    sent: list[str] = field(default_factory=list)
    watched: Watched | None = None
    said: str = ""  # what a caller was told at its end


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A kind of run: its bundle and params, how it is started, and what the drill does then."""

    kind: str
    bundle: str = ECHO
    params: dict[str, str] = field(default_factory=dict)
    start: dict[str, Any] = field(default_factory=dict)
    then: Callable[[Api, Started, str], None] | None = None


class Company:
    """Starts runs, a few at a time, spread over a while, and remembers them."""

    def __init__(self, api: Api, runs: int, seconds: float) -> None:
        self._api = api
        self._seconds = seconds
        self._began = time.monotonic()
        self.started: list[Started] = []
        self.faults: list[str] = []
        self._threads = ThreadPoolExecutor(SUBMITTERS)
        self._watchers = ThreadPoolExecutor(max(1, runs // WATCHED))
        kinds = [SCENES[number % len(SCENES)] for number in range(runs)]
        random.shuffle(kinds)
        self._playing: list[Future[None]] = [
            self._threads.submit(self._play, scene, number, self._seconds * number / runs)
            for number, scene in enumerate(kinds)
        ]

    def wait(self) -> None:
        """Wait until each scene has been played to its end."""
        for each in self._playing:
            each.result()
        self._threads.shutdown()
        self._watchers.shutdown()

    def _play(self, scene: Scene, number: int, at: float) -> None:
        time.sleep(max(0.0, self._began + at - time.monotonic()))
        try:
            self._played(scene, number)
        except (Refused, Unanswered) as error:
            self.faults.append(f"{scene.kind}: {error}")

    def _played(self, scene: Scene, number: int) -> None:
        api, partner = self._api, PARTNERS[number % len(PARTNERS)]
        key = f"drill:{number}"
        params = {**scene.params, **({"EVENT_KEY": key} if scene.bundle == STEPS else {})}
        job = {"partner": partner, "tenant": TENANT, "schoolYear": YEAR, "bundle": scene.bundle}
        made = api.post("/api/v1/jobs", {**job, "files": {"INPUT_FILE": "in.csv"}, "params": params})
        api.put(made["uploadUrls"]["INPUT_FILE"], b"one\ntwo\nthree\n")
        answer = api.post(f"/api/v1/jobs/{made['uid']}/start", scene.start)
        started = Started(kind=scene.kind, partner=partner, job=made["uid"], run=answer["runUid"])
        self.started.append(started)
        if number % WATCHED == 0:
            started.watched = Watched()
            self._watchers.submit(watch, api, started.run, started.watched)
        if "runToken" in answer:
            _work_as_caller(api, started, key, answer["runToken"])
        elif scene.then:
            scene.then(api, started, key)


def _send_events(api: Api, started: Started, key: str) -> None:
    """Send what the run waits for: before, while or after it begins to."""
    for number in range(EVENTS):
        time.sleep(random.choice((0.0, 0.0, 0.5, 2.0, 4.0)))
        payload = f"{started.run}/{number}"
        api.post(f"/v1/events/{key}/send", {"payload": payload, "partner": started.partner})
        started.sent.append(payload)


def _cancel(api: Api, started: Started, _key: str) -> None:
    time.sleep(random.uniform(0.0, 3.0))
    api.post(f"/v1/runs/{started.run}/cancel")


def _start_twice(api: Api, started: Started, _key: str) -> None:
    """A job that is in progress is not started again; one that has ended may be."""
    try:
        answer = api.post(f"/api/v1/jobs/{started.job}/start", {})
        started.said = f"again as {answer['runUid']}"
    except Refused as refused:
        if refused.problem != "/problems/job-in-progress":
            raise


def _work_as_caller(api: Api, started: Started, key: str, token: str) -> None:
    """Do a run's work ourselves, waiting for an event within it."""
    sender = threading.Thread(target=_send_quietly, args=(api, started, key), daemon=True)
    sender.start()
    path = f"/sdk/v1/runs/{started.run}"
    try:
        received = [_receive(api, path, key, token) for _ in range(EVENTS)]
        api.post(f"{path}/complete", {"result": {"received": received}}, token=token)
        started.said = "completed"
    except Refused as refused:
        if refused.status not in (401, 410):
            raise
        started.said = "lease lost"
    finally:
        sender.join()


def _send_quietly(api: Api, started: Started, key: str) -> None:
    try:
        _send_events(api, started, key)
    except (Refused, Unanswered) as error:
        started.said = f"events not sent: {error}"


def _receive(api: Api, path: str, key: str, token: str) -> Any:
    answer = api.post(f"{path}/wait-for-event", {"event_key": key}, token=token)
    if answer["status"] == "received":
        return answer["payload"]
    while True:
        event = api.post(f"{path}/heartbeat", {}, token=token).get("event")
        if event and event["trigger_id"] == answer["trigger_id"]:
            # Told by the heartbeat; the repeated wait is what answers it.
            return api.post(f"{path}/wait-for-event", {"event_key": key}, token=token)["payload"]
        time.sleep(0.3)


SCENES: Sequence[Scene] = (
    Scene(kind="plain", params={"ECHO_SECONDS": "0.5"}),
    Scene(kind="long", params={"ECHO_SECONDS": "4"}),
    Scene(kind="twice", params={"ECHO_SECONDS": "1"}, then=_start_twice),
    Scene(kind="retried", params={"ECHO_FAIL": "transient"}),
    Scene(kind="event", bundle=STEPS, params={"STEPS": "wait"}, then=_send_events),
    Scene(kind="event", bundle=STEPS, params={"STEPS": "wait"}, then=_send_events),
    Scene(kind="family", bundle=STEPS, params={"STEPS": "family"}, then=_send_events),
    Scene(kind="family", bundle=STEPS, params={"STEPS": "family"}, then=_send_events),
    Scene(kind="continued", bundle=STEPS, params={"STEPS": "continue"}),
    Scene(kind="canceled", params={"ECHO_SECONDS": "5"}, then=_cancel),
    Scene(kind="canceled family", bundle=STEPS, params={"STEPS": "family"}, then=_cancel),
    Scene(kind="keyed", params={"ECHO_SECONDS": "0.5"}, start={"concurrencyKey": "one"}),
    Scene(kind="caller", start={"executor": "caller"}),
)
