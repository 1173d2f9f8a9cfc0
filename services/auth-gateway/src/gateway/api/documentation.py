"""The documentation for clients: the merged OpenAPI document, and a page to read and try it.

Everything comes from here: the page loads nothing from elsewhere and runs no script but ours.
"""

import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import flask_swagger_ui
from flask import Blueprint, Response, request, send_from_directory
from werkzeug.exceptions import NotFound

from common.api import Access

_OURS = Path(str(resources.files(__package__))) / "page"
_SWAGGER_UI = Path(flask_swagger_ui.__file__).parent / "dist"
ASSETS = {
    "page.css": _OURS,
    "page.js": _OURS,
    "favicon-32x32.png": _SWAGGER_UI,
    "swagger-ui-bundle.js": _SWAGGER_UI,
    "swagger-ui.css": _SWAGGER_UI,
}
HEADERS = {
    # Swagger UI draws its icons from data: URLs. What is tried out goes to where the page came from.
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
MAX_AGE_SECONDS = 300


def document(public_url: str) -> bytes:
    """Read the document that tools/openapi.py made of all services; its server is this gateway."""
    text = (resources.files(__package__) / "openapi.json").read_text(encoding="utf-8")
    merged: dict[str, Any] = json.loads(text)
    merged["servers"] = [{"url": public_url.rstrip("/")}]
    return json.dumps(merged, ensure_ascii=False).encode()


def pages(openapi: bytes) -> Blueprint:
    """Make the views. They are no part of the document they show."""
    blueprint = Blueprint("documentation", __name__)

    @blueprint.route("/api")
    @_for_anyone
    def show_page() -> Response:
        return _file(_OURS, "page.html")

    @blueprint.route("/api/openapi.json")
    @_for_anyone
    def show_document() -> Response:
        response = Response(openapi, content_type="application/json")
        response.add_etag()
        response.headers["Cache-Control"] = "no-cache"
        response.make_conditional(request)
        return response

    @blueprint.route("/api/assets/<name>")
    @_for_anyone
    def show_asset(name: str) -> Response:
        if name not in ASSETS:
            raise NotFound
        return _file(ASSETS[name], name)

    @blueprint.after_request
    def protect(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    return blueprint


def _for_anyone(view: Callable[..., Response]) -> Callable[..., Response]:
    view.access = Access(anyone=True)  # type: ignore[attr-defined]
    return view


def _file(folder: Path, name: str) -> Response:
    return send_from_directory(folder, name, max_age=MAX_AGE_SECONDS)
