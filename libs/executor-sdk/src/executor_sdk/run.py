"""A run as its handler sees it.

Every method but `log` first asks whether the work goes on, and raises Cancelled, ShuttingDown or LeaseLost
when it does not; none of them is an `Exception`, so that `except Exception` lets them pass. Refused means
that the server did not accept what was given.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import urllib3

from executor_sdk.api import Claim, RunApi
from executor_sdk.errors import InvalidInput, RunFailed, Suspended
from executor_sdk.journal import Journal
from executor_sdk.lease import Lease
from executor_sdk.output_sets import RESULT, OutputSet, Told
from executor_sdk.spawning import Spawning
from executor_sdk.state import State
from executor_sdk.storage import Gone, Storage


class Run:
    """One attempt at a run, from its claim to its end."""

    def __init__(
        self,
        *,
        run_id: str,
        claim: Claim,
        api: RunApi,
        lease: Lease,
        journal: Journal,
        http: urllib3.PoolManager,
    ) -> None:
        self.id = run_id
        self.lease = claim.lease
        self.attempt = claim.attempt
        self.payload = claim.payload
        self.event = claim.event
        self.state = State(api)
        self.storage = Storage(http, lease.check)
        self.sealed_sets: list[str] = []
        self._api = api
        self._lease = lease
        self._journal = journal
        self._checkpoint = (claim.last_checkpoint or {}).get("state")
        self._spawning = Spawning(api, self.state, claim.event)

    @property
    def bundle(self) -> str:
        """The key of the bundle that is run."""
        return str((self.payload.get("bundle") or {}).get("key") or "")

    @property
    def params(self) -> Mapping[str, Any]:
        """The job's parameters."""
        return self.payload.get("params") or {}

    @property
    def input(self) -> Any:
        """What `spawn` or `continue_as` gave this run."""
        return self.payload.get("input")

    def log(self, message: str, level: str = "info", **data: Any) -> None:
        """Add a line to the run's log. It is sent within a second; this neither waits nor raises."""
        self._journal.say(message, level, **data)

    def progress(self, percent: float, message: str = "", *, step: str = "") -> None:
        """Say how far the run is, 0 to 100."""
        self.check_cancelled()
        self._journal.progress(percent, step, message)

    def check_cancelled(self) -> None:
        """Raise Cancelled, ShuttingDown or LeaseLost when the work must stop. Asks nobody: call it often."""
        self._lease.check()

    def confirm_lease(self) -> None:
        """Ask the server now whether the run is still ours, before what nobody else may be doing too."""
        self._lease.refresh()

    def fetch_input(self, key: str, target: Path | str) -> Path:
        """Download an input. Raises InvalidInput when it is not what it was at start, Retryable."""
        self.check_cancelled()
        each = (self.payload.get("inputs") or {}).get(key)
        if each is None:
            raise RunFailed(f"This run has no input {key}.", code="missing_input")
        place = Path(target)
        try:
            self.storage.download(
                each["url"], place, size_bytes=each.get("size_bytes"), etag=each.get("etag")
            )
        except Gone as error:
            sentence = f"{key} is not the file it was when the job was started. Start the job again."
            raise InvalidInput(sentence, code="input_changed") from error
        return place

    def output_set(
        self,
        name: str,
        *,
        kind: str = RESULT,
        sent_to_ods: bool = False,
        told: Told = lambda _number, _name: None,
    ) -> OutputSet:
        """Make an output set of the files added in a `with`; it is published when the run completes.

        A `report` is there on failure too. Raises Retryable when storage does not take a file.
        """
        self.check_cancelled()
        return OutputSet(
            self._api,
            self.storage,
            self.sealed_sets.append,
            name=name,
            kind=kind,
            sent_to_ods=sent_to_ods,
            told=told,
        )

    def checkpoint(self) -> Any:
        """Give the newest checkpoint's state, whichever attempt left it; None without one."""
        return self._checkpoint

    def save_checkpoint(self, state: Any) -> None:
        """Keep a state that a later attempt may begin from; the last 20 are kept."""
        self._post("checkpoint", {"state": state})
        self._checkpoint = state

    def wait_for_event(self, key: str, *, timeout_seconds: float = 3600, notify_url: str = "") -> Any:
        """Return an event's payload, at once if it came; else leave the handler until it comes.

        The run then holds no executor. The handler runs again from its start when the event is there, and
        this returns its payload. Without one in time the run ends as `timed_out`.
        """
        told = {"notify_url": notify_url} if notify_url else {}
        self._journal.flush()
        answer = self._post("wait-for-event", {"event_key": key, "timeout_secs": timeout_seconds, **told})
        if answer.get("status") == "received":
            return answer.get("payload")
        raise Suspended(f"the event {key}")

    def spawn(
        self,
        *,
        bundle: str = "",
        job_id: str = "",
        payload: Mapping[str, Any] | None = None,
        priority: int | None = None,
        await_completion: bool = False,
        await_timeout_seconds: float | None = None,
    ) -> Any:
        """Make a child run of a bundle or an existing job: once, however often the handler runs again.

        Returns the child. With `await_completion` the handler is left and runs again from its start when the
        child has ended, however it did; this then returns its `id`, `status`, `result` and `error`.
        """
        partner = (self.payload.get("job") or {}).get("partner")
        named = {"job_id": job_id} if job_id else {"job_slug": bundle, "project_id": partner}
        given = {"payload": payload, "priority": priority, "await_timeout_secs": await_timeout_seconds}
        told = {name: value for name, value in given.items() if value is not None}
        self.check_cancelled()
        self._journal.flush()
        return self._spawning.spawn({**named, **told, "await_completion": await_completion})

    def continue_as(self, payload: Mapping[str, Any] | None = None) -> Any:
        """Make a run that goes on after this one, with a payload of its own or this one's; returns it."""
        return self._post("continue", {} if payload is None else {"payload": payload})

    def annotate(self, **texts: str) -> None:
        """Merge texts into the run's metadata, up to 50 a call."""
        self._post("annotate", {"annotations": texts})

    def output(self, key: str, value: Any, *, schema: Mapping[str, Any] | None = None) -> None:
        """Set a named value of the run that clients can read; one that breaks its JSON Schema is Refused."""
        self._post("output", {"output_key": key, "value": value} | ({"schema": schema} if schema else {}))

    def usage(self, provider: str, model: str, **counts: int) -> None:
        """Note what a model used: prompt_tokens, completion_tokens, total_tokens, cost_microusd."""
        self._post("usage", {"provider": provider, "model": model, **counts})

    def tool_call(self, tool_name: str, **facts: Any) -> None:
        """Note a call of a tool: input, output, duration_ms, status."""
        self._post("tool-call", {"tool_name": tool_name, **facts})

    def resources(self, *, memory_mb: float, memory_percent: float = 0, cpu_percent: float = 0) -> None:
        """Note what the work uses; the run's log warns from 80 % of its memory."""
        facts = {"memory_mb": memory_mb, "memory_percent": memory_percent, "cpu_percent": cpu_percent}
        self._post("resources", facts)

    def stream(self, chunk: str, *, stream_id: str = "default", done: bool = False) -> None:
        """Append to a stream that clients can follow."""
        self._post("stream", {"chunk": chunk, "stream_id": stream_id, "done": done})

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        self.check_cancelled()
        return self._api.post(path, body)
