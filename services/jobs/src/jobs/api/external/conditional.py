"""Answer a GET with an ETag, or with 304 to who has seen it already (RFC 9110 §13)."""

from typing import Any

from flask import jsonify, request
from werkzeug import Response


def answer(document: Any) -> Response:
    """Write the document as JSON."""
    response = jsonify(document)
    response.add_etag(weak=True)
    return response.make_conditional(request)
