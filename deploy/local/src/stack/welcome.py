"""What `up` says in the end: where everything is and what to try."""

from stack.running import Stack
from stack.services import REALM

EXAMPLE_CLIENTS = (
    ("runway-api", "api-secret-123", "partner ea"),
    ("acme-api", "acme-secret-123", "partner acme"),
    ("taxiway-admin", "admin-secret-123", "administrator"),
)
"""The clients of clients.yaml: published examples, good for this machine only."""

SERVERS = """
  S3          http://localhost:{s3}
  PostgreSQL  127.0.0.1:{postgres}, database taxiway
  Valkey      127.0.0.1:{redis}
  Passwords   {secrets}
  Logs        {logs}
"""
SERVICES = """
  Gateway     http://localhost:{gateway}
  API pages   http://localhost:{gateway}/api
  Issuer      http://localhost:{issuer}/realms/{realm}"""
TRY = """
Clients of this machine (id, secret):
{clients}

Try:
  TOKEN=$(curl -s -d grant_type=client_credentials -d client_id=runway-api -d client_secret=api-secret-123 \\
    http://localhost:{issuer}/realms/{realm}/protocol/openid-connect/token \\
    | python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"])')
  curl -s -X POST -H "Authorization: Bearer $TOKEN" http://localhost:{gateway}/api/v1/token/verify

  make status            every process, its pid and port
  make logs NAME=jobs    follow a log
  make down              stop; the data stays
"""


def welcome(stack: Stack, *, with_services: bool) -> str:
    """Write the closing text."""
    clients = "\n".join(f"  {name:<15}{secret:<18}{what}" for name, secret, what in EXAMPLE_CLIENTS)
    facts = {
        "gateway": stack.ports.gateway,
        "issuer": stack.ports.issuer,
        "s3": stack.ports.s3,
        "postgres": stack.ports.postgres,
        "redis": stack.ports.redis,
        "secrets": stack.layout.secrets,
        "logs": stack.layout.logs,
        "realm": REALM,
        "clients": clients,
    }
    text = SERVICES + SERVERS + TRY if with_services else SERVERS
    return text.format(**facts).rstrip()
