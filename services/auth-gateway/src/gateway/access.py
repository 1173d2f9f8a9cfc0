"""Access rules: an application has a role, for one partner or for everything. And the roles there are."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from gateway.applications import Managed, end_tokens

CREATE = "create:jobs"


@dataclass(frozen=True, kw_only=True)
class Role:
    """A role; one that `is_partners` may be given for a single partner."""

    id: int
    name: str
    scopes: Sequence[str]
    permissions: Sequence[str]
    is_partners: bool


@dataclass(frozen=True)
class Grant:
    """A role to give; without a partner for everything."""

    role: Role
    partner: str | None


@dataclass(frozen=True, kw_only=True)
class Rule:
    """An access rule; without a partner it is for everything."""

    id: int
    application_id: int
    client_id: str
    kind: str
    role_id: int
    role: str
    scopes: Sequence[str]
    partner: str | None
    created_by: str
    created_at: datetime


class RuleExists(Exception):
    """The application has this role there already."""


class RuleUnknown(Exception):
    """There is no such access rule."""


@dataclass(kw_only=True, eq=False)
class RightsMix(Exception):
    """A token's scopes hold for all its partners: who may create jobs could do so for this one too."""

    partner: str


_ROLES = text("SELECT id, name, scopes, permissions, is_partners FROM gateway.role ORDER BY id")
_RULE = """
    SELECT rule.id, rule.application_id, application.client_id, application.kind, rule.role_id,
        role.name AS role, role.scopes, rule.partner, rule.created_by, rule.created_at
    FROM gateway.access_rule AS rule
    JOIN gateway.role ON role.id = rule.role_id
    JOIN gateway.client_application AS application ON application.id = rule.application_id
"""
_FIND = text(_RULE + " WHERE rule.id = :id")
_OF = text(_RULE + " WHERE rule.application_id = :id ORDER BY rule.id")
_PAGE = text(
    _RULE
    + " WHERE :subject IN ('', application.client_id, CAST(application.id AS text))"
    + " ORDER BY rule.id OFFSET :offset LIMIT :limit"
)
_COUNT = text("""
    SELECT count(*) FROM gateway.access_rule AS rule
    JOIN gateway.client_application AS application ON application.id = rule.application_id
    WHERE :subject IN ('', application.client_id, CAST(application.id AS text))
""")
_GIVE = text("""
    INSERT INTO gateway.access_rule (application_id, role_id, partner, created_by)
    VALUES (:application_id, :role_id, :partner, :created_by) ON CONFLICT DO NOTHING RETURNING id
""")
_TAKE = text("DELETE FROM gateway.access_rule WHERE id = :id")


def roles(connection: Connection) -> list[Role]:
    """List the roles."""
    return [Role(**row._mapping) for row in connection.execute(_ROLES)]


def page(connection: Connection, subject: str, offset: int, limit: int) -> tuple[int, list[Rule]]:
    """Count the rules of an application (id or client id; of all if empty), and read a page of them."""
    total = connection.execute(_COUNT, {"subject": subject}).scalar_one()
    rows = connection.execute(_PAGE, {"subject": subject, "offset": offset, "limit": limit})
    return total, [Rule(**row._mapping) for row in rows]


def rules_of(connection: Connection, application_id: int) -> list[Rule]:
    """Read the access rules of an application."""
    return [Rule(**row._mapping) for row in connection.execute(_OF, {"id": application_id})]


def find(connection: Connection, id: int) -> Rule:
    """Find an access rule. Raises RuleUnknown."""
    row = connection.execute(_FIND, {"id": id}).one_or_none()
    if row is None:
        raise RuleUnknown
    return Rule(**row._mapping)


def change(
    connection: Connection,
    application: Managed,
    *,
    take: Sequence[Rule] = (),
    give: Sequence[Grant] = (),
    by: str,
    now: datetime,
) -> list[Rule]:
    """Take rules from an application, which is locked, give it others, and return those.

    When it loses one, tokens with the old rights end. Raises RuleExists or RightsMix.
    """
    for rule in take:
        connection.execute(_TAKE, {"id": rule.id})
    given = [_give(connection, application, grant, by) for grant in give]
    mixed = mixed_partner(application.scopes, rules_of(connection, application.id))
    if mixed is not None:
        raise RightsMix(partner=mixed)
    if take:
        end_tokens(connection, application, now)
    return given


def mixed_partner(declared: Sequence[str], rules: Sequence[Rule]) -> str | None:
    """Find a partner where an application may only read although it may create jobs elsewhere."""
    creating = {rule.partner for rule in rules if CREATE in rule.scopes}
    if CREATE in declared:
        creating |= {scope.removeprefix("partner:") for scope in declared}
    partners = [rule.partner for rule in rules if rule.partner not in creating]
    return next((partner for partner in partners if partner is not None), None) if creating else None


def _give(connection: Connection, application: Managed, grant: Grant, by: str) -> Rule:
    values = {"role_id": grant.role.id, "partner": grant.partner, "created_by": by}
    id = connection.execute(_GIVE, {"application_id": application.id, **values}).scalar_one_or_none()
    if id is None:
        raise RuleExists
    return find(connection, id)
