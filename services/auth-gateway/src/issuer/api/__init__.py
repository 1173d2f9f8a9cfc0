"""The issuer's endpoints: realms, and the other login forms clients send."""
