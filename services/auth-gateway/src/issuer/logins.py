"""What a login hands out: a signed access token, and an ID token where it was asked for."""

from typing import Any

from common.logs import get_logger
from issuer import tokens
from issuer.clients import Client
from issuer.grants import Grant
from issuer.services import Services
from issuer.tokens import Signer


def issue(services: Services, client: Client, grant: Grant) -> dict[str, Any]:
    """Sign tokens for a client that proved itself, and write the answer (RFC 6749 §5.1)."""
    settings = services.settings
    kid, key = services.keys.signing()
    signer = Signer(kid=kid, key=key)
    times = {
        "issued_at": int(client.found_at.timestamp()),
        "lifetime_seconds": settings.lifetime_seconds,
    }
    access = tokens.access_claims(settings.issuer_url, client, grant, **times)
    get_logger().info("token_issued", client=client.client_id, jti=access["jti"], kid=kid)
    answer = {
        "access_token": signer.sign("at+jwt", access),
        "token_type": "Bearer",
        "expires_in": settings.lifetime_seconds,
        "scope": access["scope"],
    }
    if grant.has_id_token:
        answer["id_token"] = signer.sign("JWT", tokens.id_claims(settings.issuer_url, client, **times))
    return answer
