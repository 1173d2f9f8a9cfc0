"""One run on this machine: its folder, its limits, and what is counted of it."""

import shutil
from pathlib import Path
from typing import Any

import structlog

from executor import metrics, work_order
from executor.cache import Cache
from executor.config import Settings
from executor.forge import Forge
from executor.orders import Limits
from executor.programs import Programs
from executor.work import Folders, Work
from executor_sdk import Executor, Run, Turn


class Runner(Executor):
    """The executor of bundles: every one is run in a child of the forge."""

    def __init__(self, *, settings: Settings, forge: Forge) -> None:
        super().__init__(
            gateway_url=settings.gateway_url,
            redis_url=settings.redis_url,
            pool=settings.pool,
            name=settings.name,
            heartbeat_timeout_seconds=settings.heartbeat_timeout_seconds,
        )
        self.settings = settings
        self._forge = forge
        self.handles("*")(self._work)

    def take(self, turn: Turn) -> str:
        """Do the run of a turn, and count how it ended."""
        with structlog.contextvars.bound_contextvars(run=turn.run, lease=turn.lease):
            metrics.BUSY.set(1)
            outcome = super().take(turn)
            metrics.BUSY.set(0)
        metrics.RUNS.labels(outcome).inc()
        return outcome

    def sweep(self) -> None:
        """Remove what runs of an earlier process left on disk."""
        shutil.rmtree(self._runs_folder, ignore_errors=True)

    def _work(self, run: Run) -> dict[str, Any]:
        folder = self._runs_folder / f"{run.id}-{run.lease}"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            return self._worked(run, work_order.read(run.payload), Folders.below(folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _worked(self, run: Run, order: work_order.WorkOrder, folders: Folders) -> dict[str, Any]:
        programs = Programs(
            forge=self._forge,
            run=run,
            limits=limits(order, self.settings),
            home=folders.home,
            output=folders.output,
        )
        return Work(order=order, run=run, programs=programs, folders=folders, cache=self._cache).do()

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
