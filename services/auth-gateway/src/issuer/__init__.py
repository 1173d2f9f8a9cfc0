"""An OAuth2 issuer for machine clients: client credentials in, signed access tokens out (RFC 6749 §4.4)."""
