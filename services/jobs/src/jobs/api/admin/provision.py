"""Bring the catalog to what a whole declaration says, as `python -m jobs.cli provision` does."""

from typing import Any

import yaml
from flask import request

from common.api import Blueprint
from common.database import transaction
from common.greenlets import apart
from common.idempotency import once
from common.problems import bad_request
from jobs.api.admin import acting, schemas
from jobs.api.admin.acting import EDITORS, REFUSALS
from jobs.api.external import queries
from jobs.api.external.bodies import json_body
from jobs.api.external.schemas import body_of, query
from jobs.catalog import declarations, provisioning
from jobs.catalog.changes import Change
from jobs.catalog.pruning import Prune
from jobs.services import services

blp = Blueprint(
    "admin-provision",
    __name__,
    url_prefix="/api/v1/admin/provision",
    faulty_status=400,
    tag="Administration",
    refusals=REFUSALS,
)


@blp.route("", methods=["POST"])
@blp.admits(roles=EDITORS)
@blp.doc(
    requestBody=body_of(schemas.DeclarationBody, required=True),
    parameters=[
        query("dryRun", "`true`: answer the plan, change nothing"),
        query("prune", "`true`: end what is not declared, of the partners that are"),
        query("prunePartners", "`true`: retire the partners that are not declared"),
    ],
)
@blp.repeatable
@blp.refuses(400, "line 3: partners[0]: code must be 1 to 64 of A-Z a-z 0-9 _ . -", "invalid-declaration")
@blp.response(200, schemas.Provisioned)
def provision() -> Any:
    """Bring the catalog to what a declaration says, in one transaction.

    The document is that of a provisioning file, as JSON or YAML, except that credentials stand in it
    (`clientId`, `clientSecret`) and no variable is expanded: our environment is nobody's to read. Nothing is
    removed unless asked.
    """
    dry_run, prune = _flag("dryRun"), Prune(parts=_flag("prune"), partners=_flag("prunePartners"))
    declared = declarations.read_document(_document(), None)
    with transaction(services().engine) as connection:

        def make() -> list[dict[str, str]]:
            plan = provisioning.provision(
                connection,
                declared,
                services().sealer,
                actor=acting.actor(),
                dry_run=dry_run,
                prune=prune,
            )
            return [_shown(change) for change in plan]

        planned = make() if dry_run else once(connection, make).reference
    services().nudge.deliveries()
    return {"applied": not dry_run, "changes": planned}


def _shown(change: Change) -> dict[str, str]:
    return {"action": change.action, "subject": change.subject, "message": change.sentence}


def _flag(name: str) -> bool:
    value = queries.one(name) or "false"
    if value not in ("true", "false"):
        message = f'{name} must be "true" or "false"'
        raise bad_request(message, "invalid-query", {name: [message]})
    return value == "true"


def _document() -> object:
    """Read JSON, or YAML where it says so; YAML without aliases, which can stand for endless documents."""
    if "yaml" not in request.mimetype:
        return json_body()
    try:
        return apart(_yaml, request.get_data())
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise bad_request("The body is not valid YAML", "invalid-input") from None


def _yaml(content: bytes) -> object:
    text = content.decode("utf-8")
    if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
        raise bad_request("The body must be YAML without aliases", "invalid-input")
    return yaml.safe_load(text)
