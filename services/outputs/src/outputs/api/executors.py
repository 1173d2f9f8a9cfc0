"""What executors ask for while they work: declare a set, upload its files, seal it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from flask import request
from sqlalchemy import Connection

from common import ids
from common.api import Blueprint, current_principal
from common.database import transaction
from common.idempotency import once
from common.principal import Principal
from common.problems import forbidden
from outputs import sets
from outputs.schemas import DeclaredSetSchema, NewSetSchema, SealedSetSchema
from outputs.services import services
from outputs.sets import NewSet, SetNotFound
from outputs.tables import OutputFile, OutputSet

blp = Blueprint(
    "executors", __name__, url_prefix="/sdk/v1/runs/<run>/output-sets", faulty_status=422, tag="Executor"
)


@blp.route("", methods=["POST"])
@blp.admits(kinds=("run",), scopes=("run:work",))
@blp.arguments(NewSetSchema)
@blp.repeatable
@blp.refuses(403, "This run does not send to an ODS", "run-cannot-send")
@blp.refuses(409, "This lease has an output set named results with other content", "output-set-exists")
@blp.refuses(403, "token does not match run ID", "token-does-not-match-run")
@blp.refuses(410, "run has reached a terminal state", "run-has-ended")
@blp.response(201, DeclaredSetSchema)
@blp.alt_response(200, schema=DeclaredSetSchema, description="The same set again, with fresh URLs")
def declare_output_set(body: dict[str, Any], run: str) -> tuple[Mapping[str, Any], int]:
    """Declare an output set and get an upload URL for each of its files.

    Each upload sends exactly the headers given with it. Declaring the same set again answers 200 with the
    same set and fresh URLs; other content under the same name is a 409.
    """
    caller = current_principal()
    if body["sentToOds"] and "run:send" not in caller.scopes:
        raise forbidden("This run does not send to an ODS", "run-cannot-send")
    new = _new_set(caller, body)
    with transaction(services().engine) as connection:
        made, is_new = _declare(connection, new)
    return _upload_answer(made), 201 if is_new else 200


@blp.before_request
def _own_run_only() -> None:
    """Refuse a token of another run before the body is looked at."""
    run = (request.view_args or {}).get("run", "")
    if current_principal().run != run or ids.parse_uuid(run) is None:
        raise forbidden("token does not match run ID", "token-does-not-match-run")


def _new_set(caller: Principal, body: Mapping[str, Any]) -> NewSet:
    return NewSet(
        run_id=UUID(caller.run),
        lease=caller.lease,
        kind=body["kind"],
        name=body["name"],
        sent_to_ods=body["sentToOds"],
        files=tuple(OutputFile(**file) for file in body["files"]),
    )


def _declare(connection: Connection, new: NewSet) -> tuple[OutputSet, bool]:
    sets.lock_run(connection, new.run_id)
    sets.require_unended(connection, new.run_id)
    is_new = False

    def make() -> str:
        nonlocal is_new
        made, is_new = sets.declare(connection, new)
        return str(made.uid)

    reference = once(connection, make).reference
    return sets.require_set_of(connection, UUID(reference), new.run_id, new.lease), is_new


def _upload_answer(made: OutputSet) -> Mapping[str, Any]:
    headers = {file.name: sets.upload_headers(file) for file in made.files}
    store = services().store
    urls = {file.name: store.presign_put(made.key(file), headers=headers[file.name]) for file in made.files}
    return {"uid": made.uid, "uploadUrls": urls, "uploadHeaders": headers}


@blp.route("/<set_uid>/seal", methods=["POST"])
@blp.admits(kinds=("run",), scopes=("run:work",))
@blp.refuses(400, "Some files are not in storage as declared", "files-not-as-declared")
@blp.refuses(404, "Output file set not found", "output-set-not-found")
@blp.refuses(403, "token does not match run ID", "token-does-not-match-run")
@blp.refuses(410, "run has reached a terminal state", "run-has-ended")
@blp.response(200, SealedSetSchema)
def seal_output_set(run: str, set_uid: str) -> Mapping[str, Any]:
    """Check that every file of a set was uploaded as declared; only sealed sets are ever published.

    A 400 names the files that are missing or differ. Sealing again answers the same.
    """
    caller = current_principal()
    made = _set_of(caller, set_uid)
    if made.sealed_at is None:
        sets.inspect(services().store, made)
        _seal(made)
    return {"uid": made.uid, "kind": made.kind, "name": made.name, "status": "sealed"}


def _set_of(caller: Principal, set_uid: str) -> OutputSet:
    uid = ids.parse_uuid(set_uid)
    if uid is None:
        raise SetNotFound(set_uid)
    run_id = UUID(caller.run)
    with transaction(services().engine) as connection:
        return sets.require_set_of(connection, uid, run_id, caller.lease)


def _seal(made: OutputSet) -> None:
    with transaction(services().engine) as connection:
        sets.lock_run(connection, made.run_id)
        sets.require_unended(connection, made.run_id)
        sets.seal(connection, made)
