"""The errors of a token endpoint, in the shape of RFC 6749 §5.2: the one exception to our problem shape."""

from dataclasses import dataclass


@dataclass(kw_only=True, eq=False)
class OAuthError(Exception):
    """An error answer of a token endpoint. `error` is a code of RFC 6749 §5.2 or RFC 8707 §2."""

    error: str
    description: str
    status: int = 400

    def __str__(self) -> str:
        return f"{self.error}: {self.description}"


def invalid_request(description: str) -> OAuthError:
    return OAuthError(error="invalid_request", description=description)


def invalid_client() -> OAuthError:
    """One answer for an unknown client, a wrong secret and a disabled client."""
    return OAuthError(error="invalid_client", description="Unknown client or wrong secret", status=401)


def invalid_scope() -> OAuthError:
    return OAuthError(error="invalid_scope", description="A requested scope is unknown or not the client's")


def invalid_target() -> OAuthError:
    return OAuthError(error="invalid_target", description="The requested audience is not served here")


def unsupported_grant_type() -> OAuthError:
    return OAuthError(error="unsupported_grant_type", description="Only client_credentials is served here")
