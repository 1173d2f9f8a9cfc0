"""The values a plan is made of."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM, Signals

import urllib3

PROBE_SECONDS = 3


@dataclass(frozen=True, kw_only=True)
class Process:
    """One supervised process. `ports` maps the variable that sets a port to it; the first is the main one."""

    name: str
    command: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]
    ports: Mapping[str, int]
    is_ready: Callable[[], bool]
    needs: tuple[str, ...] = ()
    stop_signal: Signals = SIGTERM
    stops_as_group: bool = True
    leftovers: tuple[Path, ...] = ()
    rank: int = 20
    """Lower ranks stop later."""

    @property
    def port(self) -> int:
        return next(iter(self.ports.values()))


@dataclass(frozen=True, kw_only=True)
class Command:
    """Something that runs once and ends: a migration or a seeding."""

    name: str
    command: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What differs between stacks: how many executors, what is left out, what single processes are told.

    `environment` maps a process's name, "executor" for all of them, or "*" for every service, to variables
    that win over the plan's. `postgres_options` go to `postgres` as they are,
    `seed_environment` to the seedings.
    """

    executors: int = 1
    without: frozenset[str] = frozenset()
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    postgres_options: tuple[str, ...] = ()
    seed_environment: Mapping[str, str] = field(default_factory=dict)

    def overrides(self, name: str) -> dict[str, str]:
        """Collect what a process is told besides the plan; the closest name wins."""
        collected: dict[str, str] = {}
        for key in ("*", name.partition("-")[0], name):
            collected |= self.environment.get(key, {})
        return collected


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything a stack starts, in one value."""

    processes: tuple[Process, ...]
    migrations: tuple[Command, ...]
    seeds: tuple[Command, ...]

    def seed(self, name: str) -> Command:
        return next(command for command in self.seeds if command.name == name)

    def named(self, name: str) -> Process:
        return next(process for process in self.processes if process.name == name)

    def only(self, names: Iterable[str]) -> "Plan":
        """Keep some processes; without services there is nothing to migrate or seed."""
        wanted = set(names)
        kept = tuple(process for process in self.processes if process.name in wanted)
        return Plan(processes=kept, migrations=(), seeds=())


def answers_ok(url: str) -> Callable[[], bool]:
    """Make a readiness check: the page answers 200."""

    def check() -> bool:
        try:
            answer = urllib3.request("GET", url, timeout=PROBE_SECONDS, retries=False)
        except urllib3.exceptions.HTTPError:
            return False
        return answer.status == 200

    return check
