"""From Flask's request to the authorization server and back."""

from collections.abc import Mapping, Sequence

from authlib.oauth2 import OAuth2Error
from flask import Request, Response, current_app, jsonify

from issuer.api.requests import parameters
from issuer.server import Answer, Server
from issuer.server import Request as Asked

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749 §5.1


def server() -> Server:
    """The authorization server of the application at hand."""
    found: Server = current_app.extensions["authorization_server"]
    return found


def asked(request: Request, given: Mapping[str, Sequence[str]] | None = None) -> Asked:
    """Make of a request what the server understands; `given` are its parameters where the body has others."""
    if given is not None:
        return Asked(given, "")
    return Asked(parameters(request), request.headers.get("Authorization", ""))


def shown(answer: Answer) -> Response:
    """Write an answer."""
    response = jsonify(answer.body)
    response.status_code = answer.status
    response.headers.update({**answer.headers, **NO_STORE})
    return response


def refuse(error: OAuth2Error) -> Response:
    """Write what was wrong with a request before the server saw it."""
    status, body, headers = error()
    return shown(Answer(status=status, body=body, headers=dict(headers)))
