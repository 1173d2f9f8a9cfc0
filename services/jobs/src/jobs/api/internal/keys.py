"""The public keys of run tokens, for the gateway."""

from typing import Any

from common.api import Blueprint
from jobs.services import services

blp = Blueprint("internal", __name__, url_prefix="/internal")


@blp.route("/run-keys", methods=["GET"])
@blp.admits(kinds=("service",))
@blp.response(200)
def run_keys() -> Any:
    """Give the keys that verify run tokens, as a JWK Set (RFC 7517 §5)."""
    return services().signer.jwks()
