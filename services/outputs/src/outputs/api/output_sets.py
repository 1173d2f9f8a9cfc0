"""What clients ask for: the list of published sets, and links to download one."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from flask import Response, request

from common import ids
from common.api import Blueprint, current_principal
from common.database import transaction
from common.objects import attachment
from common.problems import bad_request
from outputs.listing import BATCH, Opening, etag, read_rows, read_until, write_all, write_page
from outputs.query import Query, cursor_after, read_query
from outputs.schemas import DownloadLinksSchema, OutputSetSchema
from outputs.services import services
from outputs.sets import SetNotFound
from outputs.tables import OutputSet, find_set

blp = Blueprint("output-sets", __name__, url_prefix="/api/v1/output-sets", faulty_status=400)


def _parameter(name: str, description: str, *, required: bool = False, **schema: Any) -> dict[str, Any]:
    return {
        "in": "query",
        "name": name,
        "required": required,
        "description": description,
        "schema": {"type": "string", **schema},
    }


PARAMETERS = [
    _parameter("partner", "Code of the partner; one of the token's", required=True),
    _parameter("sentToOds", "Only sets that were, or were not, sent to an ODS", enum=["true", "false"]),
    _parameter("createdAfter", "Only sets published strictly after this ISO 8601 date or timestamp"),
    _parameter("schoolYear", "End year of four digits", pattern="^[0-9]{4}$"),
    _parameter("tenant", "Code of the tenant"),
    _parameter("bundle", "Key of the bundle"),
    _parameter("limit", "Size of a page; the Link header leads to the next", type="integer", maximum=1000),
    _parameter("cursor", "Where to go on, from a Link header"),
]


@blp.route("", methods=["GET"])
@blp.doc(parameters=PARAMETERS)
@blp.admits(scopes=("read:jobs",))
@blp.conditional
@blp.refuses(400, "partner query parameter is required", "invalid-query")
@blp.refuses(404, "Partner not found: acme", "partner-not-found")
@blp.response(200, OutputSetSchema(many=True))
def list_output_sets() -> Response:
    """List the output sets of a partner's successful runs, oldest first.

    Whoever passes the `createdAt` of an item as `createdAfter` sees every later set of the partner exactly
    once. A time of the caller's own clock carries no such promise. Without `limit` the whole list is
    streamed; a connection that ends before the array does means that something failed on the way.
    """
    query = read_query(request.args, current_principal().partners)
    count = BATCH if query.limit is None else query.limit + 1
    with transaction(services().engine) as connection:
        until = read_until(connection, query)
        tag = etag(query, until)
        if request.if_none_match.contains_weak(tag):
            return _tagged(Response(status=304), tag)
        rows = read_rows(connection, query, query.after, until, count)
    return _tagged(_answer(query, Opening(until=until, rows=rows)), tag)


def _tagged(response: Response, tag: str) -> Response:
    response.set_etag(tag, weak=True)
    return response


def _answer(query: Query, opening: Opening) -> Response:
    if query.limit is None:
        return Response(write_all(services().engine, query, opening), content_type="application/json")
    page = opening.rows[: query.limit]
    response = Response(write_page(page), content_type="application/json")
    if len(opening.rows) > query.limit:
        response.headers["Link"] = f'<{_next_page(cursor_after(page[-1].published_at))}>; rel="next"'
    return response


def _next_page(cursor: str) -> str:
    # RFC 8288 §3.2: relative to what the client asked for, whatever host and scheme it knows us by.
    kept = [(name, value) for name, value in request.args.items(multi=True) if name != "cursor"]
    return f"{request.path}?{urlencode([*kept, ('cursor', cursor)])}"


@blp.route("/<set_uid>/download-links", methods=["POST"])
@blp.admits(scopes=("read:jobs:output-files",))
@blp.refuses(400, "Validation failed (uuid is expected)", "invalid-uuid")
@blp.refuses(404, "Output file set not found", "output-set-not-found")
@blp.response(200, DownloadLinksSchema)
def make_download_links(set_uid: str) -> Mapping[str, Any]:
    """Make a link to each file of a published set, in stored order. Links are good for an hour."""
    found = _published_set(set_uid)
    links = {file.name: _link(found.key(file), file.name) for file in found.files}
    return {"downloadLinks": links}


def _published_set(set_uid: str) -> OutputSet:
    uid = ids.parse_uuid(set_uid)
    if uid is None:
        message = "Validation failed (uuid is expected)"
        raise bad_request(message, "invalid-uuid", details={"setUid": [message]})
    with transaction(services().engine) as connection:
        found = find_set(connection, uid)
    if found is None or found.published_at is None or found.partner not in current_principal().partners:
        raise SetNotFound(set_uid)
    return found


def _link(key: str, name: str) -> str:
    headers = {"response-content-disposition": attachment(name)}
    return services().store.presign_get(key, response_headers=headers)
