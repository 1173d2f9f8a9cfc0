"""The authorization server: Authlib's, told how our clients log in and what they get.

Authlib runs the token, introspection and revocation endpoints. What is ours: reading requests in every form,
checking credentials at one cost, and the rules where Authlib differs from the RFCs (docs/adr/0005).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import AuthorizationServer, ClientCredentialsGrant, OAuth2Request
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint

from common import database
from common.logs import get_logger
from issuer import clients, grants, issued, logins
from issuer.clients import Client
from issuer.errors import InvalidClient, invalid_request
from issuer.grants import Grant
from issuer.issued import IssuedToken
from issuer.services import Services

# Authlib wants to see TLS; it ends before this process, and nothing here depends on the address.
ADDRESS = "https://issuer/"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What an endpoint answers; every answer is kept out of caches (RFC 6749 §5.1)."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str]


class Request(OAuth2Request):
    """A request to an endpoint, in whatever form it came."""

    def __init__(self, parameters: Mapping[str, Sequence[str]], authorization: str) -> None:
        super().__init__("POST", ADDRESS)
        self.parameters = parameters
        self.authorization = authorization
        self.grant: Grant

    @property
    def form(self) -> Mapping[str, str]:
        form: Mapping[str, str] = self.payload.data
        return form

    def parse(self) -> None:
        """Reduce the parameters to one value each. Raises invalid_request."""
        self.payload = BasicOAuth2Payload(grants.single(self.parameters))


class Server(AuthorizationServer):
    """Answers token, introspection and revocation requests."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.services = services
        self.register_grant(ClientCredentials)
        self.register_endpoint(Introspection)
        self.register_endpoint(Revocation)

    def token(self, request: Request) -> Answer:
        """Answer a token request (RFC 6749 §4.4)."""
        try:
            request.parse()
            grants.require_grant_type(request.form)
        except OAuth2Error as error:
            return self._refuse(request, error)
        answer: Answer = self.create_token_response(request)
        return answer

    def endpoint(self, name: str, request: Request) -> Answer:
        """Answer an introspection or revocation request."""
        try:
            request.parse()
        except OAuth2Error as error:
            return self._refuse(request, error)
        answer: Answer = self.create_endpoint_response(name, request)
        return answer

    def authenticate_client(
        self, request: Request, methods: Sequence[str], endpoint: str = "token"
    ) -> Client:
        """Authenticate at the same cost whoever asks; Authlib would answer an unknown client at once.

        The client is locked and read with its rights only when its secret was right.
        """
        given, services = grants.credentials(request.form, request.authorization), self.services
        with database.transaction(services.engine) as connection:
            kept = clients.kept_hash(connection, given.client_id)
        if not clients.matches(given.secret, kept):  # slow on purpose: outside the transaction
            raise InvalidClient
        with database.transaction(services.engine) as connection:
            client = clients.find(connection, given.client_id, services.clock)
        if client is None or not client.is_enabled or client.secret_hash != kept:
            raise InvalidClient  # it changed meanwhile
        return client

    def create_oauth2_request(self, request: Request) -> Request:
        return request

    def handle_response(self, status: int, body: Any, headers: Sequence[tuple[str, str]]) -> Answer:
        if status >= 400:
            get_logger().info("login_refused", error=body["error"])
        return Answer(status=status, body=body, headers=dict(headers))

    def send_signal(self, name: str, *args: Any, **options: Any) -> None:
        """Tell nobody."""

    def get_error_uri(self, request: Request, error: OAuth2Error) -> None:
        """Refer to no page."""

    def _refuse(self, request: Request, error: OAuth2Error) -> Answer:
        answer: Answer = self.handle_error_response(request, error)
        return answer


class ClientCredentials(ClientCredentialsGrant):
    """The one grant there is."""

    def validate_requested_scope(self) -> None:
        audiences = self.server.services.settings.audiences
        self.request.grant = grants.decide(self.request.client, self.request.form, audiences)

    def create_token_response(self) -> tuple[int, Mapping[str, Any], list[tuple[str, str]]]:
        return 200, logins.issue(self.server.services, self.request.client, self.request.grant), []


class _IssuedTokens:
    """What introspection and revocation have in common: finding a token of ours."""

    server: Server

    def check_params(self, request: Request, client: Client) -> None:
        """Want a token; a hint about its type helps nobody, and RFC 7009 §2.1 lets us pass over it."""
        if "token" not in request.form:
            raise invalid_request("token is missing")

    def query_token(self, token: str, token_type_hint: str | None) -> IssuedToken | None:
        services = self.server.services
        claims = issued.read(token, services.keys.published(), services.settings.issuer_url)
        if claims is None:
            return None
        with database.transaction(services.engine) as connection:
            return IssuedToken(
                claims=claims,
                owner=clients.find(connection, claims["client_id"], services.clock),
                is_withdrawn=issued.is_withdrawn(connection, claims),
                now=services.clock.now(),
            )


class Introspection(_IssuedTokens, IntrospectionEndpoint):
    """What a token says and whether it counts (RFC 7662): for its own client and for administrators."""

    def check_permission(self, token: IssuedToken, client: Client, request: Request) -> bool:
        return token.check_client(client)

    def introspect_token(self, token: IssuedToken) -> dict[str, Any]:
        return {"active": True, "token_type": "Bearer", **token.claims}


class Revocation(_IssuedTokens, RevocationEndpoint):
    """End one token (RFC 7009): by its own client or by an administrator."""

    def revoke_token(self, token: IssuedToken, request: Request) -> None:
        with database.transaction(self.server.services.engine) as connection:
            issued.withdraw(connection, token.claims)
        get_logger().info("token_revoked", client=request.client.client_id, jti=token.claims["jti"])
