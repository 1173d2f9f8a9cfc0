"""A plan: what would change in the catalog, line by line, and making it so."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, TextClause

from jobs.catalog import audit
from jobs.catalog.audit import Actor

ADDED, CHANGED, REMOVED = "+", "~", "-"
_ACTIONS = {ADDED: "added", CHANGED: "changed", REMOVED: "removed"}


@dataclass(frozen=True, kw_only=True)
class Change:
    """One line of the plan, and the statement that makes it so. Its values may hold sealed secrets."""

    sign: str
    noun: str
    subject: str
    shown: str = ""
    statement: TextClause
    values: Mapping[str, Any] = field(repr=False)

    @property
    def sentence(self) -> str:
        return f"{self.sign} {self.noun} {self.subject}  {self.shown}".rstrip()

    @property
    def action(self) -> str:
        return f"{self.noun.replace(' ', '-')}.{_ACTIONS[self.sign]}"


def apply(connection: Connection, plan: Iterable[Change], actor: Actor) -> None:
    """Make every change and note who made it; nothing is kept unless the caller's transaction commits."""
    for change in plan:
        connection.execute(change.statement, dict(change.values))
        audit.record(connection, actor, change.action, change.subject, change=change.shown)
