"""The first administrator: made once at a command line, where no other administrator could make it."""

from datetime import UTC, datetime

from sqlalchemy import Connection, text

from common.database import lock
from gateway import access, applications, audit
from gateway.access import Grant
from gateway.applications import APP, Managed
from gateway.audit import Actor

ADMINISTRATOR = "Administrator"
COMMAND_LINE = Actor(name="command line", place="command line")
_EXISTS = text("""
    SELECT EXISTS (
        SELECT FROM gateway.client_application AS application
        JOIN gateway.access_rule AS rule ON rule.application_id = application.id
        JOIN gateway.role ON role.id = rule.role_id
        WHERE application.enabled AND role.name = :role
    )
""")


class AdministratorExists(Exception):
    """There is an enabled administrator: it makes the others."""

    def __str__(self) -> str:
        return str(self.__doc__)


def make_first(connection: Connection, name: str) -> tuple[Managed, str]:
    """Make an administrator and tell its secret, the only time it is known.

    Raises AdministratorExists or NameTaken.
    """
    lock(connection, "gateway", "first-administrator")
    if connection.execute(_EXISTS, {"role": ADMINISTRATOR}).scalar_one():
        raise AdministratorExists
    made, secret = applications.create(connection, APP, name, COMMAND_LINE.name)
    grants = [Grant(role, None) for role in access.roles(connection) if role.name == ADMINISTRATOR]
    access.change(connection, made, give=grants, by=COMMAND_LINE.name, now=datetime.now(UTC))
    audit.record(connection, COMMAND_LINE, "application.created", made.client_id, role=ADMINISTRATOR)
    return made, secret
