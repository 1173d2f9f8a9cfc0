"""What the issuer reads and answers, for its OpenAPI document. The views read their bodies themselves."""

from typing import Any

from marshmallow import Schema, fields

from issuer import grants

REALM = "https://login.example/realms/example"


class TokenRequest(Schema):
    """A login with client credentials (RFC 6749 §4.4.2)."""

    grant_type = fields.Str(required=True, metadata={"enum": list(grants.GRANT_TYPES)})
    client_id = fields.Str(metadata={"example": "runway-api"})
    client_secret = fields.Str(metadata={"example": "its secret", "format": "password"})
    scope = fields.Str(metadata={"example": "read:jobs partner:ea"})
    audience = fields.Str(metadata={"example": "runway-local"})


class TokenAnswer(Schema):
    """A token (RFC 6749 §5.1)."""

    access_token = fields.Str(required=True, metadata={"example": "eyJhbGciOi…"})
    token_type = fields.Str(required=True, metadata={"example": "Bearer"})
    expires_in = fields.Int(required=True, metadata={"example": 3600, "description": "seconds"})
    scope = fields.Str(required=True, metadata={"example": "read:jobs partner:ea"})
    id_token = fields.Str(metadata={"example": "eyJhbGciOi…"})


class AppTokenRequest(Schema):
    """A login in the older form; names in any case."""

    grantType = fields.Str(required=True, metadata={"enum": ["app_token"]})  # noqa: N815
    AppId = fields.Str(required=True, metadata={"example": "runway-api"})
    AppSecret = fields.Str(required=True, metadata={"example": "its secret", "format": "password"})


class AppTokenAnswer(Schema):
    """A token in the older form."""

    accessToken = fields.Str(required=True, metadata={"example": "eyJhbGciOi…"})  # noqa: N815
    expiresIn = fields.Int(required=True, metadata={"example": 3600})  # noqa: N815
    tokenType = fields.Str(required=True, metadata={"example": "Bearer"})  # noqa: N815


class TokenQuestion(Schema):
    """A token, and the credentials of the client that asks about it; they may also come as HTTP Basic."""

    token = fields.Str(required=True, metadata={"example": "eyJhbGciOi…"})
    token_type_hint = fields.Str(metadata={"example": "access_token"})
    client_id = fields.Str(metadata={"example": "runway-api"})
    client_secret = fields.Str(metadata={"example": "its secret", "format": "password"})


class Introspected(Schema):
    """Whether a token counts, and if so what it says (RFC 7662 §2.2)."""

    active = fields.Bool(required=True)
    token_type = fields.Str(metadata={"example": "Bearer"})
    iss = fields.Str(metadata={"example": REALM})
    aud = fields.Str(metadata={"example": "runway-local"})
    sub = fields.Str(metadata={"example": "runway-api"})
    client_id = fields.Str(metadata={"example": "runway-api"})
    azp = fields.Str(metadata={"example": "runway-api"})
    client_name = fields.Str(metadata={"example": "Runway API"})
    scope = fields.Str(metadata={"example": "read:jobs partner:ea"})
    roles = fields.List(fields.Str(), metadata={"example": []})
    iat = fields.Int(metadata={"example": 1772443800})
    exp = fields.Int(metadata={"example": 1772447400})
    jti = fields.Str(metadata={"example": "0b8f6a3c-52c1-4f6e-9a0d-7d1f0f6f2b11"})


class Revoked(Schema):
    """Nothing more to say (RFC 7009 §2.2)."""


class LoginError(Schema):
    """Why a login was refused (RFC 6749 §5.2)."""

    error = fields.Str(required=True, metadata={"example": "invalid_request"})
    error_description = fields.Str(required=True, metadata={"example": "grant_type is missing"})


class Discovery(Schema):
    """A realm (RFC 8414 §2)."""

    issuer = fields.Str(required=True, metadata={"example": REALM})
    token_endpoint = fields.Str(required=True, metadata={"example": f"{REALM}/protocol/openid-connect/token"})
    introspection_endpoint = fields.Str(
        required=True, metadata={"example": f"{REALM}/protocol/openid-connect/token/introspect"}
    )
    revocation_endpoint = fields.Str(
        required=True, metadata={"example": f"{REALM}/protocol/openid-connect/revoke"}
    )
    jwks_uri = fields.Str(required=True, metadata={"example": f"{REALM}/protocol/openid-connect/certs"})

    grant_types_supported = fields.List(
        fields.Str(), required=True, metadata={"example": ["client_credentials"]}
    )
    response_types_supported = fields.List(fields.Str(), required=True, metadata={"example": []})
    token_endpoint_auth_methods_supported = fields.List(
        fields.Str(), required=True, metadata={"example": ["client_secret_basic", "client_secret_post"]}
    )
    scopes_supported = fields.List(fields.Str(), required=True, metadata={"example": ["openid"]})
    subject_types_supported = fields.List(fields.Str(), required=True, metadata={"example": ["public"]})
    id_token_signing_alg_values_supported = fields.List(
        fields.Str(), required=True, metadata={"example": ["RS256"]}
    )


class KeySet(Schema):
    """Public keys (RFC 7517 §5)."""

    keys = fields.List(
        fields.Dict(),
        required=True,
        metadata={"example": [{"kty": "RSA", "kid": "k1", "n": "…", "e": "AQAB"}]},
    )


def body(schema: type[Schema], *, form: bool) -> dict[str, Any]:
    """Write the OpenAPI of a login's body: JSON, and where it may be, a form."""
    kinds = ("application/x-www-form-urlencoded", "application/json") if form else ("application/json",)
    return {"required": True, "content": {kind: {"schema": schema} for kind in kinds}}
