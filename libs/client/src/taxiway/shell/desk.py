"""What a command has at hand, and what several commands find out."""

import getpass
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from taxiway.client import Client
from taxiway.shell.exits import Misused
from taxiway.shell.logins import Login, TokenFile, known_secret, load_login
from taxiway.shell.screen import Screen


@dataclass(frozen=True, kw_only=True)
class Desk:
    """The environment and the screen of one command."""

    environment: Mapping[str, str]
    screen: Screen

    def client(self) -> Client:
        """Make a client of the remembered login."""
        return self.client_of(load_login(self.environment))

    def client_of(self, login: Login) -> Client:
        """Make a client of a login; the secret is asked for only when a token must be got."""
        return Client.connect(
            gateway=login.gateway,
            issuer=login.issuer,
            client_id=login.client_id,
            audience=login.audience,
            secret=lambda: self._secret(login),
            store=TokenFile(self.environment, login),
        )

    def _secret(self, login: Login) -> str:
        secret = known_secret(self.environment, login)
        if not secret and sys.stdin.isatty():
            secret = getpass.getpass(f"Secret of {login.client_id}: ")
        if not secret:
            raise Misused(
                "A new token is needed and there is no secret: set TAXIWAY_CLIENT_SECRET or"
                " TAXIWAY_CLIENT_SECRET_FILE, or log in on a terminal"
            )
        return secret


def only_partner(client: Client, given: str) -> str:
    """Choose the partner: the one given, else the only one of the token."""
    if given:
        return given
    partners = client.verify().partners
    if len(partners) != 1:
        known = f": one of {', '.join(partners)}" if partners else ": the token opens none"
        raise Misused(f"--partner is needed{known}")
    return partners[0]


def only_tenant(client: Client, partner: str, given: str) -> str:
    """Choose the tenant: the one given, else the only one of the partner."""
    if given:
        return given
    tenants = [tenant.code for tenant in client.partner(partner).tenants]
    if len(tenants) != 1:
        known = f": one of {', '.join(tenants)}" if tenants else f": {partner} has none"
        raise Misused(f"--tenant is needed{known}")
    return tenants[0]
