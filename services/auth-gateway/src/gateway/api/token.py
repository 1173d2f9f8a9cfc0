"""`POST /api/v1/token/verify`: a client asks what we make of its token."""

from datetime import UTC, datetime
from typing import Any

from marshmallow import Schema, fields

from common.api import Blueprint, current_principal
from common.clock import rfc3339
from common.principal import Principal

blp = Blueprint("token", __name__, url_prefix="/api/v1/token", description="Tokens")

ANY_SCOPE = ("create:jobs", "read:jobs", "read:jobs:output-files")


class VerifiedSchema(Schema):
    """What a token says, once it is believed."""

    valid = fields.Boolean(required=True)
    message = fields.String(required=True, metadata={"example": "Token is valid for partner: ea"})
    client_id = fields.String(required=True, allow_none=True, data_key="clientId")
    client_name = fields.String(
        required=True, allow_none=True, data_key="clientName", metadata={"example": "Runway API client"}
    )
    issuer = fields.String(required=True)
    partners = fields.List(fields.String(), required=True)
    scopes = fields.List(fields.String(), required=True)
    expires_at = fields.String(
        required=True, allow_none=True, data_key="expiresAt", metadata={"format": "date-time"}
    )


@blp.route("/verify", methods=["POST"])
@blp.admits(any_scope=ANY_SCOPE)
@blp.refuses(400, "The body ended early or is not framed correctly", "body-cut-short")
@blp.refuses(503, "External API is disabled.", "external-api-disabled")
@blp.response(200, VerifiedSchema)
def verify_token() -> dict[str, Any]:
    """Verify the token of this request.

    Answers which partners and scopes it opens and when it expires. Any one of the three scopes of the
    External API is enough to ask.
    """
    caller = current_principal()
    return {
        "valid": True,
        "message": message(sorted(caller.partners)),
        "client_id": caller.client_id or None,
        "client_name": caller.client_name or None,
        "issuer": caller.issuer,
        "partners": sorted(caller.partners),
        "scopes": sorted(caller.scopes),
        "expires_at": _expires_at(caller),
    }


def message(partners: list[str]) -> str:
    """Say for whom the token is good."""
    if not partners:
        return 'Token is valid for no partners. No scope of the form "partner:<code>" was found on the token.'
    return f"Token is valid for partner{'s' if len(partners) > 1 else ''}: {', '.join(partners)}"


def _expires_at(caller: Principal) -> str | None:
    if not caller.expires_at:  # an API key may live for ever
        return None
    return rfc3339(datetime.fromtimestamp(caller.expires_at, UTC))
