"""A login: credentials are checked, scopes granted, a token signed."""

from dataclasses import dataclass

from common import database
from common.logs import get_logger
from issuer import clients, grants, tokens
from issuer.grants import Asked
from issuer.services import Services
from issuer.tokens import Signer


@dataclass(frozen=True, kw_only=True)
class Login:
    """What a successful login hands out."""

    access_token: str
    id_token: str
    expires_in: int
    scope: str


def login(services: Services, asked: Asked) -> Login:
    """Log a client in. Raises OAuthError, or Unavailable when the database is away."""
    settings = services.settings
    with database.transaction(services.engine) as connection:
        found = clients.find(connection, asked.client_id, services.clock)
    client = clients.authenticate(found, asked.secret)  # slow on purpose: outside the transaction
    grant = grants.decide(client, asked, settings.audiences)
    kid, key = services.keys.signing()
    signer = Signer(kid=kid, key=key)
    times = {
        "issued_at": int(client.found_at.timestamp()),
        "lifetime_seconds": settings.lifetime_seconds,
    }
    access = tokens.access_claims(settings.issuer_url, client, grant, **times)
    identity = tokens.id_claims(settings.issuer_url, client, **times) if asked.wants_id_token else None
    get_logger().info("token_issued", client=client.client_id, jti=access["jti"], kid=kid)
    return Login(
        access_token=signer.sign("at+jwt", access),
        id_token=signer.sign("JWT", identity) if identity else "",
        expires_in=settings.lifetime_seconds,
        scope=access["scope"],
    )
