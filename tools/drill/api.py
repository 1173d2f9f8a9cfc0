"""The drill's client: each call is repeated, with one Idempotency-Key, until somebody answers."""

import json
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3

TENANT, YEAR = "main", "2026"
CLIENT_ID, SECRET = "drill", "drill-secret-123"
PATIENCE_SECONDS = 240.0
TROUBLE = (0, 429, 502, 503, 504)
IN_PROGRESS = "/problems/idempotency-key-in-progress"


class Refused(Exception):
    """The answer is an error that will not pass."""

    def __init__(self, status: int, said: str, problem: str) -> None:
        super().__init__(f"{status} {said}")
        self.status = status
        self.problem = problem


class Unanswered(Exception):
    """Nobody gave an answer for so long that nobody will."""


class Api:
    """One client application at one gateway. Safe to use from several threads."""

    def __init__(self, gateway: str, issuer: str) -> None:
        self._http = urllib3.PoolManager(
            retries=False, maxsize=32, timeout=urllib3.Timeout(connect=2, read=10)
        )
        self.gateway = gateway
        self._token_url = f"{issuer}/realms/example/protocol/openid-connect/token"
        self._lock = threading.Lock()
        self._token = ""
        self.broken: list[str] = []  # answers that no outage excuses

    @property
    def token(self) -> str:
        with self._lock:
            if not self._token:
                form = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": SECRET}
                self._token = str(
                    self._answered("POST", self._token_url, urlencode(form), {})["access_token"]
                )
            return self._token

    def get(self, path: str, **query: str) -> Any:
        """Read something."""
        return self._call("GET", path + (f"?{urlencode(query)}" if query else ""), None, {})

    def post(self, path: str, body: Any = None, *, token: str = "") -> Any:
        """Do something once, however often it must be sent; `token` is a run's own."""
        return self._call("POST", path, body, {"Idempotency-Key": str(uuid.uuid4())}, token)

    def put(self, url: str, content: bytes) -> None:
        """Upload to object storage."""
        self._answered("PUT", url, content, {})

    def pages(self, path: str, **query: str) -> Iterator[Any]:
        """Read a list to its end."""
        cursor: str | None = ""
        while cursor is not None:
            asked = {**query, "limit": "500", **({"cursor": cursor} if cursor else {})}
            page = self.get(path, **asked)
            yield from page["items"]
            cursor = page["next"]

    def output_sets(self, partner: str) -> list[Any]:
        """List every set of a partner that is published."""
        listed: list[Any] = self.get("/api/v1/output-sets", partner=partner)
        return listed

    def events(self, run: str) -> list[Any]:
        """Read all of a run's history."""
        events: list[Any] = []
        after: int | None = 0
        while after is not None:
            page = self.get(f"/v1/runs/{run}/history", after=str(after), limit="500")
            events += page["items"]
            after = page["next"]
        return events

    def _call(self, method: str, path: str, body: Any, more: Mapping[str, str], token: str = "") -> Any:
        headers = {"Authorization": f"Bearer {token or self.token}", **more}
        content = None if body is None else json.dumps(body)
        if content is not None:
            headers["Content-Type"] = "application/json"
        return self._answered(method, self.gateway + path, content, headers)

    def _answered(self, method: str, url: str, body: str | bytes | None, headers: Mapping[str, str]) -> Any:
        until, pause = time.monotonic() + PATIENCE_SECONDS, 0.1
        if url == self._token_url:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
        while True:
            status, said = self._once(method, url, body, headers)
            problem = _problem(said) if status >= 400 else ""
            if status not in TROUBLE and problem != IN_PROGRESS:
                break
            if time.monotonic() > until:
                raise Unanswered(f"{method} {urlsplit(url).path}: {status}")
            time.sleep(pause)
            pause = min(pause * 1.5, 1.0)
        if status >= 500:
            self.broken.append(f"{method} {urlsplit(url).path}: {status}")
        if status >= 400:
            raise Refused(status, said[:300].decode(errors="replace"), problem)
        return json.loads(said) if said else None

    def _once(
        self, method: str, url: str, body: str | bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        try:
            answer = self._http.request(method, url, body=body, headers=dict(headers))
        except urllib3.exceptions.HTTPError:
            return 0, b""
        return answer.status, answer.data


def _problem(said: bytes) -> str:
    try:
        document = json.loads(said)
    except ValueError:
        return ""
    return str(document.get("type", "")) if isinstance(document, dict) else ""
