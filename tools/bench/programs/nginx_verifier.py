"""What nginx's auth_request asks: a Flask application that verifies a bearer token against one public key."""

import os

from flask import Flask, Response, request
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey


def build() -> Flask:
    """Build the verifier from PUBLIC_KEY_FILE, TOKEN_ISSUER and TOKEN_AUDIENCE."""
    with open(os.environ["PUBLIC_KEY_FILE"], encoding="utf-8") as file:
        key = RSAKey.import_key(file.read())
    rules = jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": os.environ["TOKEN_ISSUER"]},
        aud={"essential": True, "value": os.environ["TOKEN_AUDIENCE"]},
        exp={"essential": True},
    )
    app = Flask(__name__)

    @app.get("/verify")
    def verify() -> Response:
        try:
            token = jwt.decode(request.headers["Authorization"].removeprefix("Bearer "), key, ["RS256"])
            rules.validate(token.claims)
        except (JoseError, ValueError):
            return Response(status=401)
        return Response(headers={"X-Auth-Client-Id": str(token.claims["client_id"])})

    return app
