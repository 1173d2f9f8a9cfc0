"""One run from its turn to its end: claim, work, and the word the server is told."""

import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog
import urllib3

from common.logs import get_logger
from executor import metrics, work_order
from executor.api import Claim, LeaseLost, Refused, RunApi
from executor.cache import Cache
from executor.config import Settings
from executor.failures import CLIENT, TRANSIENT, UNKNOWN, Failure, RunFailed
from executor.forge import Forge
from executor.journal import Journal
from executor.lease import CANCELED, LOST, STOPPING, Interrupted, Lease
from executor.orders import Limits
from executor.programs import Programs
from executor.transfers import Store
from executor.turns import Turn
from executor.work import Folders, Result, Work

INTERRUPTIONS: Mapping[str, Failure] = {
    CANCELED: Failure(code="canceled", sentence="canceled by request", error_class=CLIENT),
    STOPPING: Failure(code="shutting_down", sentence="executor is shutting down", error_class=TRANSIENT),
}


@dataclass(frozen=True, kw_only=True)
class Runner:
    """What it takes to do runs, one after the other."""

    settings: Settings
    name: str
    http: urllib3.PoolManager
    forge: Forge
    stopping: threading.Event = field(default_factory=threading.Event)

    def take(self, turn: Turn) -> None:
        """Do the run of a turn. Raises nothing: whatever happens is told to the server or logged."""
        with structlog.contextvars.bound_contextvars(run=turn.run, lease=turn.lease):
            metrics.BUSY.set(1)
            began = time.monotonic()
            outcome = self._outcome(turn)
            metrics.BUSY.set(0)
            metrics.RUNS.labels(outcome).inc()
            get_logger().info("run_ended", outcome=outcome, seconds=round(time.monotonic() - began, 3))

    def sweep(self) -> None:
        """Remove what runs of an earlier process left on disk."""
        shutil.rmtree(self._runs_folder, ignore_errors=True)

    def _outcome(self, turn: Turn) -> str:
        api = RunApi(
            http=self.http,
            gateway_url=self.settings.gateway_url,
            run=turn.run,
            ticket=turn.ticket,
            alive_seconds=self.settings.heartbeat_timeout_seconds,
            traceparent=turn.traceparent,
        )
        try:
            claim = api.claim(self.name)
        except (LeaseLost, Refused) as error:
            get_logger().info("claim_refused", reason=str(error))
            return "not_claimed"
        except (KeyError, TypeError, ValueError) as error:
            get_logger().error("claim_not_understood", error=type(error).__name__)
            return "not_claimed"
        return self._claimed(turn, api, claim)

    def _claimed(self, turn: Turn, api: RunApi, claim: Claim) -> str:
        get_logger().info("run_claimed", attempt=claim.attempt)
        lease = Lease(api, interval_seconds=claim.heartbeat_interval_seconds, stopping=self.stopping)
        try:
            with lease:
                return self._reported(api, self._done(turn, api, claim, lease))
        except (LeaseLost, Interrupted) as error:
            get_logger().info("lease_lost", reason=str(error))
            return "lease_lost"
        except Refused as error:
            get_logger().error("report_refused", error=str(error))
            return "report_refused"

    def _done(self, turn: Turn, api: RunApi, claim: Claim, lease: Lease) -> Result | Failure:
        """Do the work. LeaseLost and Interrupted(LOST) leave here: then there is nobody to tell."""
        folder = self._runs_folder / f"{turn.run}-{turn.lease}"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            order = work_order.read(claim.payload)
            with Journal(api, lease, secrets=order.secrets) as journal:
                return self._worked(order, api, lease, journal, folder)
        except RunFailed as error:
            return error.failure
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _worked(
        self, order: work_order.WorkOrder, api: RunApi, lease: Lease, journal: Journal, folder: Path
    ) -> Result | Failure:
        try:
            folders = Folders.below(folder)
            return Work(
                order=order,
                api=api,
                lease=lease,
                journal=journal,
                store=Store(self.http, lease.check),
                programs=Programs(
                    forge=self.forge,
                    lease=lease,
                    journal=journal,
                    limits=limits(order, self.settings),
                    home=folders.home,
                    output=folders.output,
                ),
                folders=folders,
                cache=self._cache,
            ).do()
        except RunFailed as error:
            journal.say(error.failure.sentence, "error", code=error.failure.code)
            return error.failure
        except Interrupted as error:
            if error.reason == LOST:
                raise
            return INTERRUPTIONS[error.reason]
        except LeaseLost:
            raise
        except Refused as error:
            get_logger().error("api_refused", error=str(error))
            return Failure(
                code="api_refused", sentence="The server refused the executor's report.", error_class=CLIENT
            )
        except Exception:  # the edge of a run: a fault of ours must not end the process
            get_logger().exception("run_broke_off")
            sentence = "The executor failed in a way it does not know. The run will be tried again."
            return Failure(code="internal", sentence=sentence, error_class=UNKNOWN)

    @staticmethod
    def _reported(api: RunApi, end: Result | Failure) -> str:
        if isinstance(end, Result):
            api.complete(end.result, end.output_sets)
            return "completed"
        api.fail(end)
        get_logger().info("run_failed", code=end.code, error_class=end.error_class)
        return end.code

    @property
    def _cache(self) -> Cache:
        return Cache(
            folder=self.settings.work_folder / "bundles", most_bytes=self.settings.cache_mb * 1024 * 1024
        )

    @property
    def _runs_folder(self) -> Path:
        return self.settings.work_folder / "runs" / self.name


def limits(order: work_order.WorkOrder, settings: Settings) -> Limits:
    """The narrower of what the work order and this executor allow."""
    return Limits(
        timeout_seconds=min(order.timeout_seconds or settings.timeout_seconds, settings.timeout_seconds),
        memory_mb=min(order.memory_mb or settings.memory_mb, settings.memory_mb),
        file_mb=settings.file_mb,
        open_files=settings.open_files,
    )
