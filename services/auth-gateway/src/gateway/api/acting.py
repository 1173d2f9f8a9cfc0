"""Who manages, and secrets that are shown once."""

from collections.abc import Callable
from typing import TypeVar

from flask import request
from sqlalchemy import Connection

from common import idempotency
from common.api import current_principal
from gateway import problems
from gateway.audit import Actor

ADMINISTRATORS = ("Administrator",)
REFUSALS = ((403, "This needs the role Administrator", "missing-role"),)
FORGOTTEN_AT_ONCE = 100
Made = TypeVar("Made")


def actor() -> Actor:
    """The caller at hand, as the audit knows it."""
    caller = current_principal()
    return Actor(
        name=f"{caller.kind}:{caller.client_id or caller.subject}", place=request.remote_addr or "unknown"
    )


def shown_once(connection: Connection, make: Callable[[], Made]) -> Made:
    """Make what is shown once; a repeat of the same request is a 409, for its secret is gone."""
    shown: list[Made] = []

    def keep() -> bool:
        shown.append(make())
        return True

    idempotency.forget_old(connection, most=FORGOTTEN_AT_ONCE)
    if idempotency.once(connection, keep).repeated:
        raise problems.secret_shown()
    return shown[0]
