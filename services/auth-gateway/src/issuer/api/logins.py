"""Other addresses and forms of the same login that clients send."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flask import request
from flask.typing import ResponseReturnValue

from common.api import Blueprint
from issuer.api import schemas
from issuer.api.exchange import asked, server, shown
from issuer.api.requests import json_object

_ANSWERED = {"accessToken": "access_token", "expiresIn": "expires_in", "tokenType": "token_type"}
blp = Blueprint("logins", __name__, tag="Login")

_NAMES = {"granttype": "grant_type", "appid": "client_id", "clientid": "client_id"}
_NAMES |= {"appsecret": "client_secret", "clientsecret": "client_secret", "scope": "scope"}


@blp.route("/oauth/token", methods=["POST"])
@blp.route("/api/v2/token", methods=["POST"])
@blp.admits(anyone=True)
@blp.doc(requestBody=schemas.body(schemas.TokenRequest, form=True))
@blp.alt_response(400, schema=schemas.LoginError, description="The login is not a proper one")
@blp.alt_response(401, schema=schemas.LoginError, description="Unknown client or wrong secret")
@blp.response(200, schemas.TokenAnswer)
def token() -> ResponseReturnValue:
    """Give a client application a token: the realm's token endpoint under a shorter address."""
    return shown(server().token(asked(request)))


@blp.route("/api/v1/token", methods=["POST"])
@blp.admits(anyone=True)
@blp.doc(requestBody=schemas.body(schemas.AppTokenRequest, form=False))
@blp.alt_response(400, schema=schemas.LoginError, description="The login is not a proper one")
@blp.alt_response(401, schema=schemas.LoginError, description="Unknown client or wrong secret")
@blp.response(200, schemas.AppTokenAnswer)
def app_token() -> ResponseReturnValue:
    """Give an application a token for `{"grantType", "AppId", "AppSecret"}`; names in any case."""
    answer = server().token(asked(request, translated(json_object(request))))
    if answer.status != 200:
        return shown(answer)
    body = {new: answer.body[old] for new, old in _ANSWERED.items()}
    return shown(replace(answer, body=body))


def translated(document: Mapping[str, Any]) -> dict[str, list[str]]:
    """Put the older form's names into OAuth2's; `app_token` is what it calls client_credentials."""
    found: dict[str, list[str]] = {}
    for name, value in document.items():
        known = _NAMES.get(name.lower())
        if known and isinstance(value, str):
            found.setdefault(known, []).append(value)
    if found.get("grant_type") == ["app_token"]:
        found["grant_type"] = ["client_credentials"]
    return found
