"""What API keys may do: their three scopes, what those stand for, and what a maker can hand on. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from common.principal import Principal

READ, WRITE, ADMIN = "read", "write", "admin"
SCOPES = (READ, WRITE, ADMIN)
ADMINISTRATOR = "Administrator"
_READS = frozenset({"read:jobs", "read:jobs:output-files"})
_WRITES = frozenset({"create:jobs"})
STANDS_FOR = {READ: _READS, WRITE: _WRITES, ADMIN: _READS | _WRITES | {READ, WRITE}}
MAY_READ = (READ, "read:jobs")
MAY_WRITE = (WRITE, "create:jobs")


def expanded(scopes: Iterable[str]) -> frozenset[str]:
    """Both names of each scope: a key's own, and those that services ask for."""
    named = frozenset(scopes)
    return named.union(*(STANDS_FOR[scope] for scope in named))


def roles_of(scopes: Iterable[str]) -> frozenset[str]:
    """The roles of a key: everything is a role, never a scope."""
    return frozenset({ADMINISTRATOR}) if ADMIN in scopes else frozenset()


@dataclass(frozen=True, kw_only=True)
class Powers:
    """What a caller has, and so what a key of its making may have."""

    is_administrator: bool
    scopes: frozenset[str]
    partners: frozenset[str]
    requests_per_hour: int

    @classmethod
    def of(cls, caller: Principal, requests_per_hour: int) -> "Powers":
        return cls(
            is_administrator=ADMINISTRATOR in caller.roles,
            scopes=caller.scopes,
            partners=caller.partners,
            requests_per_hour=requests_per_hour,
        )

    def exceeded_by(
        self, scopes: Iterable[str], partners: Iterable[str], requests_per_hour: int
    ) -> list[str]:
        """Name what these have and the caller has not; an administrator lacks nothing."""
        if self.is_administrator:
            return []
        beyond = [f"scope {scope}" for scope in scopes if not self._has(scope)]
        beyond += [f"partner {code}" for code in partners if code not in self.partners]
        if requests_per_hour > self.requests_per_hour:
            beyond.append(f"more than {self.requests_per_hour} requests an hour")
        return beyond

    def _has(self, scope: str) -> bool:
        return scope != ADMIN and self.scopes >= STANDS_FOR[scope]
