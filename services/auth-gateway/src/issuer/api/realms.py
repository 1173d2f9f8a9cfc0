"""A realm's endpoints, under both of the prefixes clients know: discovery, keys and tokens."""

from typing import Any

from flask import jsonify, request
from flask.typing import ResponseReturnValue

from common.api import Blueprint
from common.problems import not_found
from issuer import grants
from issuer.api import schemas
from issuer.api.exchange import asked, server, shown
from issuer.grants import SOCIAL_SCOPES
from issuer.services import services

blp = Blueprint("realms", __name__, tag="Login")

PREFIXES = ("/realms", "/auth/realms")
KEYS_MAX_AGE_SECONDS = 60


def discover(realm: str, prefix: str) -> dict[str, Any]:
    """Write the discovery document (RFC 8414 §2, OpenID Connect Discovery 1.0 §3).

    `issuer` is what is configured, whoever asks. Endpoints keep the prefix they were asked under, so that a
    client stays on the paths it knows; the host comes from the configuration, never from `Host`.
    """
    settings = services().settings
    base = f"{settings.origin}{prefix}/{realm}/protocol/openid-connect"
    return {
        "issuer": settings.issuer_url,
        "token_endpoint": f"{base}/token",
        "introspection_endpoint": f"{base}/token/introspect",
        "revocation_endpoint": f"{base}/revoke",
        "jwks_uri": f"{base}/certs",
        "grant_types_supported": list(grants.GRANT_TYPES),
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "scopes_supported": sorted(SOCIAL_SCOPES),
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }


def prefix_of_request() -> str:
    return PREFIXES[1] if request.path.startswith(PREFIXES[1]) else PREFIXES[0]


def _require(realm: str) -> None:
    if realm != services().settings.realm:
        raise not_found(f"Realm not found: {realm}", "realm-not-found")


@blp.route("/realms/<realm>/.well-known/openid-configuration")
@blp.route("/auth/realms/<realm>/.well-known/openid-configuration")
@blp.admits(anyone=True)
@blp.refuses(404, "Realm not found: other", "realm-not-found")
@blp.response(200, schemas.Discovery)
def discovery(realm: str) -> ResponseReturnValue:
    """Describe the realm: its issuer and where its endpoints are."""
    _require(realm)
    return jsonify(discover(realm, prefix_of_request())), {"Cache-Control": "public, max-age=60"}


@blp.route("/realms/<realm>/protocol/openid-connect/certs")
@blp.route("/auth/realms/<realm>/protocol/openid-connect/certs")
@blp.admits(anyone=True)
@blp.refuses(404, "Realm not found: other", "realm-not-found")
@blp.response(200, schemas.KeySet)
def certs(realm: str) -> ResponseReturnValue:
    """List the public keys of the realm as a JWK set (RFC 7517)."""
    _require(realm)
    headers = {"Cache-Control": f"public, max-age={KEYS_MAX_AGE_SECONDS}"}
    return jsonify(keys=services().keys.published()), headers


@blp.route("/realms/<realm>/protocol/openid-connect/token", methods=["POST"])
@blp.route("/auth/realms/<realm>/protocol/openid-connect/token", methods=["POST"])
@blp.admits(anyone=True)
@blp.refuses(404, "Realm not found: other", "realm-not-found")
@blp.doc(requestBody=schemas.body(schemas.TokenRequest, form=True))
@blp.alt_response(400, schema=schemas.LoginError, description="The login is not a proper one")
@blp.alt_response(401, schema=schemas.LoginError, description="Unknown client or wrong secret")
@blp.response(200, schemas.TokenAnswer)
def token(realm: str) -> ResponseReturnValue:
    """Give a client application a token for its credentials.

    `grant_type=client_credentials` as a form or a JSON object, the credentials in the body or as HTTP Basic.
    `scope` narrows what the token may do; `audience` chooses among the audiences served here.
    """
    _require(realm)
    return shown(server().token(asked(request)))


@blp.route("/realms/<realm>/protocol/openid-connect/token/introspect", methods=["POST"])
@blp.route("/auth/realms/<realm>/protocol/openid-connect/token/introspect", methods=["POST"])
@blp.admits(anyone=True)
@blp.refuses(404, "Realm not found: other", "realm-not-found")
@blp.doc(requestBody=schemas.body(schemas.TokenQuestion, form=True))
@blp.alt_response(400, schema=schemas.LoginError, description="The request is not a proper one")
@blp.alt_response(401, schema=schemas.LoginError, description="Unknown client or wrong secret")
@blp.response(200, schemas.Introspected)
def introspect(realm: str) -> ResponseReturnValue:
    """Tell what a token says, and whether it still counts (RFC 7662).

    For the token's own client and for administrators; of any other token the answer is that it is not active.
    """
    _require(realm)
    return shown(server().endpoint("introspection", asked(request)))


@blp.route("/realms/<realm>/protocol/openid-connect/revoke", methods=["POST"])
@blp.route("/auth/realms/<realm>/protocol/openid-connect/revoke", methods=["POST"])
@blp.admits(anyone=True)
@blp.refuses(404, "Realm not found: other", "realm-not-found")
@blp.doc(requestBody=schemas.body(schemas.TokenQuestion, form=True))
@blp.alt_response(400, schema=schemas.LoginError, description="The request is not a proper one")
@blp.alt_response(401, schema=schemas.LoginError, description="Unknown client or wrong secret")
@blp.response(200, schemas.Revoked)
def revoke(realm: str) -> ResponseReturnValue:
    """End a token before it expires, within a second (RFC 7009). Any other token has ended already."""
    _require(realm)
    return shown(server().endpoint("revocation", asked(request)))
