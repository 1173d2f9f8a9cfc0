"""A partner's webhook receiver: verifies each message and remembers what it was told of which run."""

import base64
import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from drill.api import Api
from drill.scenes import PARTNERS

EVENTS = ["run.completed", "run.failed", "output_set.published"]


class Receiver:
    """Listens on a port of its own; register it with `at`."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.bodies: dict[str, bytes] = {}
        self.repeated = 0
        self._secrets: dict[str, str] = {}
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.hear(self.path.strip("/"), dict(self.headers.items()), body)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def register(self, api: Api) -> None:
        """Have every partner's events sent here."""
        for partner in PARTNERS:
            url = f"http://127.0.0.1:{self._server.server_port}/{partner}"
            made = api.post("/v1/webhooks", {"partner": partner, "url": url, "events": EVENTS})
            self._secrets[partner] = made["secret"]

    def hear(self, partner: str, headers: dict[str, str], body: bytes) -> None:
        """Note a message; one that comes again must be the same."""
        sent = {name.lower(): value for name, value in headers.items()}
        with self._lock:
            if sent["webhook-signature"] != self._signature(partner, sent, body):
                self.faults.append(f"a message to {partner} has a wrong signature")
            known = self.bodies.setdefault(sent["webhook-id"], body)
            self.repeated += known is not body
            if known != body:
                self.faults.append(f"{sent['webhook-id']} came again as another message")

    def ends(self) -> dict[str, list[str]]:
        """Give the statuses that were told of each run's end, by run."""
        ends: dict[str, list[str]] = {}
        with self._lock:
            bodies = list(self.bodies.values())
        for body in bodies:
            message = json.loads(body)
            if message["type"] != "output_set.published":
                ends.setdefault(message["data"]["run_id"], []).append(message["data"]["status"])
        return ends

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _signature(self, partner: str, sent: dict[str, str], body: bytes) -> str:
        signed = f"{sent['webhook-id']}.{sent['webhook-timestamp']}.".encode() + body
        key = base64.b64decode(self._secrets[partner].removeprefix("whsec_"))
        return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
