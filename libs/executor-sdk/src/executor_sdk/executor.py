"""The executor: takes turns of a pool, gives each run to its handler, and tells the server how it ended."""

import json
import logging
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from types import FrameType
from typing import Any, Self, TypeVar

import urllib3

from executor_sdk import failures
from executor_sdk.api import Claim, RunApi
from executor_sdk.errors import Failure, Interrupted, LeaseLost, Refused, RunFailed, SettingsFaulty, Suspended
from executor_sdk.journal import Journal
from executor_sdk.lease import Lease
from executor_sdk.line import Line, Turn, connect, serve
from executor_sdk.run import Run

COMPLETED, WAITING, LOST = "completed", "waiting", "lease_lost"
NOT_CLAIMED, REPORT_REFUSED = "not_claimed", "report_refused"
ABANDONED_EXIT = 75  # sysexits.h, EX_TEMPFAIL: start me again
_CONNECTIONS = 8
_log = logging.getLogger(__name__)

Handler = Callable[[Run], Any]
"""Does the work of a run and returns its result: anything that can be written as JSON."""
Handling = TypeVar("Handling", bound=Handler)


class Executor:
    """Serves one pool's line until SIGTERM; one run at a time."""

    def __init__(
        self,
        *,
        gateway_url: str,
        redis_url: str,
        pool: str = "default",
        name: str = "",
        heartbeat_timeout_seconds: float = 60.0,
    ) -> None:
        self.name = re.sub(r"[^\w.-]", "-", name or f"{socket.gethostname()}-{os.getpid()}")
        self.stopping = threading.Event()
        self._gateway_url = gateway_url.rstrip("/")
        self._redis_url = redis_url
        self._pool = pool
        self._heartbeat_timeout_seconds = heartbeat_timeout_seconds
        self._handlers: list[tuple[str, Handler]] = []
        self._http = urllib3.PoolManager(num_pools=_CONNECTIONS, maxsize=_CONNECTIONS, retries=False)
        self._abandon: Callable[[], None] = lambda: None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read GATEWAY_URL, REDIS_URL (or REDIS_URL_FILE), POOL, EXECUTOR_NAME, HEARTBEAT_TIMEOUT_SECONDS.

        Raises SettingsFaulty.
        """
        try:
            patience = float(environment.get("HEARTBEAT_TIMEOUT_SECONDS") or 60)
        except ValueError:
            raise SettingsFaulty("HEARTBEAT_TIMEOUT_SECONDS is not a number") from None
        return cls(
            gateway_url=_required(environment, "GATEWAY_URL"),
            redis_url=_required(environment, "REDIS_URL"),
            pool=environment.get("POOL") or "default",
            name=environment.get("EXECUTOR_NAME", ""),
            heartbeat_timeout_seconds=patience,
        )

    def handles(self, bundles: str) -> Callable[[Handling], Handling]:
        """Register a handler for bundle keys that match, `*` and `?` as in file names; the first wins."""

        def register(handler: Handling) -> Handling:
            self._handlers.append((bundles, handler))
            return handler

        return register

    def serve(self) -> None:
        """Take turns until SIGTERM or SIGINT: then the run at work is given back, and this returns."""
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._stop)
        self._abandon = _abandon
        _log.info("executor_started name=%s pool=%s", self.name, self._pool)
        line = connect(self._redis_url)
        try:
            serve(Line(line, pool=self._pool, name=self.name), self.take, self.stopping)
        finally:
            line.close()
            self.close()
        _log.info("executor_stopped name=%s", self.name)

    def take(self, turn: Turn) -> str:
        """Do the run of a turn and say how it ended. Whatever happens is told to the server or logged."""
        began = time.monotonic()
        outcome = self._outcome(turn)
        _log.info("run_ended run=%s outcome=%s seconds=%.3f", turn.run, outcome, time.monotonic() - began)
        return outcome

    def close(self) -> None:
        """Let go of the connections to the gateway and to storage."""
        self._http.clear()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stopping.set()

    def _outcome(self, turn: Turn) -> str:
        api = RunApi(
            http=self._http,
            gateway_url=self._gateway_url,
            run=turn.run,
            ticket=turn.ticket,
            alive_seconds=self._heartbeat_timeout_seconds,
            traceparent=turn.traceparent,
        )
        try:
            claim = api.claim(self.name)
        except (Interrupted, Refused) as error:
            _log.info("claim_refused run=%s reason=%s", turn.run, error)
            return NOT_CLAIMED
        except (KeyError, TypeError, ValueError) as error:
            _log.error("claim_not_understood run=%s error=%s", turn.run, type(error).__name__)
            return NOT_CLAIMED
        return self._claimed(turn, api, claim)

    def _claimed(self, turn: Turn, api: RunApi, claim: Claim) -> str:
        _log.info("run_claimed run=%s attempt=%d", turn.run, claim.attempt)
        lease = Lease(
            api,
            interval_seconds=claim.heartbeat_interval_seconds,
            stopping=self.stopping,
            abandon=self._abandon,
        )
        try:
            with lease:
                return _reported(api, self._done(turn, api, claim, lease))
        except Suspended as wait:
            _log.info("run_waits run=%s for=%s", turn.run, wait)
            return WAITING
        except Interrupted as error:
            _log.info("lease_lost run=%s reason=%s", turn.run, error)
            return LOST
        except Refused as error:
            _log.error("report_refused run=%s error=%s", turn.run, error)
            return REPORT_REFUSED

    def _done(self, turn: Turn, api: RunApi, claim: Claim, lease: Lease) -> dict[str, Any] | Failure:
        """Do the work. LeaseLost and Suspended leave here: then there is nothing to tell."""
        with Journal(api, lease, secrets=_secrets(claim.payload)) as journal:
            run = Run(run_id=turn.run, claim=claim, api=api, lease=lease, journal=journal, http=self._http)
            try:
                return _completion(self._handler(run)(run), run.sealed_sets)
            except (LeaseLost, Suspended):
                raise
            except Interrupted as error:
                return failures.of_interruption(error)
            except Exception as error:  # the edge of a run: it must not end the process
                return _told(run, error)

    def _handler(self, run: Run) -> Handler:
        for pattern, handler in self._handlers:
            if fnmatchcase(run.bundle, pattern):
                return handler
        sentence = f"This executor has no handler for the bundle {run.bundle or 'of this run'}."
        raise RunFailed(sentence, code="no_handler")


def _completion(result: Any, sealed_sets: list[str]) -> dict[str, Any]:
    try:
        json.dumps(result)
    except (TypeError, ValueError):
        raise RunFailed("The handler's result cannot be written as JSON.", code="bad_result") from None
    return {"result": result, "output_sets": sealed_sets}


def _reported(api: RunApi, end: dict[str, Any] | Failure) -> str:
    if isinstance(end, Failure):
        return _failed(api, end)
    try:
        api.post("complete", end)
    except Refused as error:
        return _failed(api, failures.of_error(error))
    return COMPLETED


def _failed(api: RunApi, end: Failure) -> str:
    code = {"code": end.code} if end.code else {}
    told = {"error": end.sentence, "error_class": end.error_class, "retryable": end.retryable}
    api.post("fail", told | code)
    _log.info("run_failed code=%s error_class=%s", end.code or "-", end.error_class)
    return end.code or "failed"


def _told(run: Run, error: Exception) -> Failure:
    failure = failures.of_error(error)
    if failure.code == failures.INTERNAL:
        _log.exception("run_broke_off run=%s", run.id)
    run.log(failure.sentence, "error", code=failure.code)
    return failure


def _secrets(payload: Mapping[str, Any]) -> list[str]:
    """Find what must not be logged: the secret of the ODS."""
    ods = payload.get("ods")
    return [str(ods.get("client_secret") or "")] if isinstance(ods, Mapping) else []


def _abandon() -> None:
    """End the process: a run that another executor may have is still at work here and does not notice."""
    _log.critical("run_abandoned")
    os._exit(ABANDONED_EXIT)


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    path = environment.get(f"{name}_FILE", "")
    if not value and path:
        value = Path(path).read_text(encoding="utf-8").strip()
    if not value:
        raise SettingsFaulty(f"{name} is not set")
    return value
