"""The errors of a token endpoint, in the shape of RFC 6749 §5.2: the one exception to our problem shape.

Descriptions are ours, never a caller's words: Authlib refuses to write what RFC 6749 does not allow there.
"""

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import (
    InvalidClientError,
    InvalidRequestError,
    InvalidScopeError,
    UnsupportedGrantTypeError,
)

CHALLENGE = 'Basic realm="taxiway"'  # RFC 7617 §2: the realm is not optional


class InvalidClient(InvalidClientError):
    """One answer for an unknown client, a wrong secret and a disabled client."""

    status_code = 401
    description = "Unknown client or wrong secret"

    def get_headers(self) -> list[tuple[str, str]]:
        return [("WWW-Authenticate", CHALLENGE)]


class InvalidScope(InvalidScopeError):
    """A scope was asked for that the client does not have."""

    description = "A requested scope is unknown or not the client's"


class InvalidTarget(OAuth2Error):
    """An audience was asked for that is not served here (RFC 8707 §2)."""

    error = "invalid_target"
    description = "The requested audience is not served here"


class UnsupportedGrantType(UnsupportedGrantTypeError):
    """Another grant was asked for; what it was is not repeated."""

    def __init__(self) -> None:
        super().__init__("")
        self.description = "Only client_credentials is served here"


def invalid_request(description: str) -> OAuth2Error:
    return InvalidRequestError(description=description)
