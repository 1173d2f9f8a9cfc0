"""A server for the tests of handlers: it plays the gateway, jobs, outputs and object storage for one run.

```python
platform = Platform(payload={"bundle": {"key": "assessments/X"}})
executor = Executor(gateway_url=platform.url, redis_url="redis://nobody")
executor.handles("*")(work)
assert executor.take(platform.turn) == "completed"
assert platform.bodies("complete") == [{"result": …, "output_sets": []}]
```
"""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from executor_sdk.line import Turn

RUN = "018f0000-0000-7000-8000-000000000001"
Answer = tuple[int, dict[str, str], bytes]
_NONE: tuple[int, dict[str, str]] = (404, {"type": "/problems/not-found", "detail": "there is none"})


class Server:
    """An HTTP server of this machine; a subclass answers."""

    def __init__(self, port: int = 0) -> None:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, more, content = server.answer(self.command, self.path, headers, body)
                self.send_response(status)
                for name, value in {**more, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the names of http.server

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """Answer one request; each kind of server does it its own way."""
        raise AssertionError(f"nothing answers {method} {path}")

    def close(self) -> None:
        """Stop answering."""
        self._http.shutdown()
        self._http.server_close()


def json_answer(status: int, document: Any) -> Answer:
    """Write an answer."""
    return status, {"Content-Type": "application/json"}, json.dumps(document).encode()


class Platform(Server):
    """Taxiway as one run's executor sees it. It remembers every call, and fails those it is told to fail."""

    def __init__(self, port: int = 0, *, payload: dict[str, Any] | None = None) -> None:
        super().__init__(port)
        self.payload: dict[str, Any] = payload or {}
        self.calls: list[tuple[str, Any]] = []
        self.keys: list[tuple[str, str]] = []
        self.faults: dict[str, list[Any]] = {}
        self.objects: dict[str, bytes] = {}
        self.sets: dict[str, dict[str, Any]] = {}
        self.state: dict[str, Any] = {}
        self.checkpoints: list[dict[str, Any]] = []
        self.children: list[dict[str, Any]] = []
        self.received: dict[str, Any] = {}
        self.event: Any = None
        self.is_waiting = False
        self.cancel_requested = False
        self.heartbeat_interval = 5.0
        self.heartbeat_timeout: float | None = None  # the executor's own
        self.lock = threading.Lock()

    @property
    def turn(self) -> Turn:
        """The run's next turn."""
        return Turn(run=RUN, lease=1, ticket="ticket", traceparent=None)

    def bodies(self, name: str) -> list[Any]:
        """List what was sent to an endpoint and accepted."""
        with self.lock:
            return [body for called, body in self.calls if called == name]

    def put(self, path: str, content: bytes) -> str:
        """Put an object into storage; return a presigned URL of it."""
        self.objects[f"/store/{path}"] = content
        return f"{self.url}/store/{path}?X-Amz-Signature=secret"

    def send(self, event_key: str, payload: Any) -> None:
        """Send an event; a run that waits for it may be claimed again."""
        self.received[event_key] = payload
        self._resume({"event_key": event_key, "payload": payload})

    def end_child(self, **facts: Any) -> None:
        """End the child the run waits for."""
        self._resume({"child": {"id": self.children[-1]["id"], "status": "completed", **facts}})

    def _resume(self, event: Any) -> None:
        if self.is_waiting:
            self.is_waiting, self.event = False, event

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """Answer as the executor API does (executor-api.md §2), or as storage."""
        if path.startswith("/store/"):
            return self._store(method, path.partition("?")[0], headers, body)
        name = path.removeprefix(f"/sdk/v1/runs/{RUN}/")
        with self.lock:
            self.keys.append((name, headers.get("idempotency-key", "")))
            faults = self.faults.get(name, [])
            fault = faults.pop(0) if faults else None
        if fault is not None:
            return fault if isinstance(fault, tuple) else json_answer(fault, {"detail": "as the test asked"})
        if headers.get("authorization") != ("Bearer ticket" if name == "claim" else "Bearer work"):
            return json_answer(401, {"detail": "run token is stale"})
        document = json.loads(body or b"null")
        with self.lock:
            self.calls.append((name if method == "POST" else f"{method} {name}", document))
            return json_answer(*self._told(method, name, document))

    def _told(self, method: str, name: str, body: Any) -> tuple[int, Any]:
        endpoint = getattr(self, f"_{method.lower()}_{name.partition('/')[0].replace('-', '_')}", None)
        answer: tuple[int, Any] = endpoint(name, body) if endpoint else (200, {})
        return answer

    def _post_claim(self, _name: str, _body: Any) -> tuple[int, Any]:
        if self.is_waiting:
            return 409, {"type": "/problems/claim-refused", "detail": "the run waits"}
        claim = {
            "run_token": "work",
            "heartbeat_interval_secs": self.heartbeat_interval,
            "heartbeat_timeout_secs": self.heartbeat_timeout,
            "lease": 1,
            "attempt": 1,
            "payload": self.payload,
            "last_checkpoint": self.checkpoints[-1] if self.checkpoints else None,
            "event": self.event,
        }
        self.event = None
        return 200, claim

    def _post_heartbeat(self, _name: str, _body: Any) -> tuple[int, Any]:
        return 200, {"status": "ok", "cancel_requested": self.cancel_requested}

    def _post_checkpoint(self, _name: str, body: Any) -> tuple[int, Any]:
        self.checkpoints.append({"sequence": len(self.checkpoints) + 1, "source": "sdk", **body})
        return 201, self.checkpoints[-1]

    def _post_state(self, _name: str, body: Any) -> tuple[int, Any]:
        self.state[body["key"]] = body["value"]
        return 201, body

    def _get_state(self, name: str, _body: Any) -> tuple[int, Any]:
        if name == "state":
            return 200, [{"key": key, "value": value} for key, value in sorted(self.state.items())]
        key = name.removeprefix("state/")
        return (200, {"key": key, "value": self.state[key]}) if key in self.state else _NONE

    def _delete_state(self, name: str, _body: Any) -> tuple[int, Any]:
        self.state.pop(name.removeprefix("state/"), None)
        return 200, {}

    def _post_wait_for_event(self, _name: str, body: Any) -> tuple[int, Any]:
        key = body["event_key"]
        if key in self.received:
            return 200, {"status": "received", "event_key": key, "payload": self.received[key]}
        self.is_waiting = True
        return 200, {"status": "waiting", "event_key": key}

    def _post_spawn(self, _name: str, body: Any) -> tuple[int, Any]:
        child = {"id": f"child-{len(self.children) + 1}", "parent_run_id": RUN, "status": "queued"}
        self.children.append(child)
        self.is_waiting = bool(body.get("await_completion"))
        return 201, child

    def _post_output_sets(self, name: str, body: Any) -> tuple[int, Any]:
        if name != "output-sets":
            return 200, {"status": "sealed"}
        uid = f"set-{len(self.sets) + 1}"
        self.sets[uid] = body
        checksums = {each["name"]: _base64(bytes.fromhex(each["sha256"])) for each in body["files"]}
        headers = {
            file: {"If-None-Match": "*", "x-amz-checksum-sha256": checksum}
            for file, checksum in checksums.items()
        }
        urls = {file: f"{self.url}/store/{uid}/{file}?X-Sig=secret" for file in checksums}
        return 201, {"uid": uid, "uploadUrls": urls, "uploadHeaders": headers}

    def _store(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if method == "PUT":
            return self._stored(path, headers, body), {}, b""
        if path not in self.objects:
            return 404, {}, b""
        return 200, {"ETag": f'"{etag(self.objects[path])}"'}, self.objects[path]

    def _stored(self, path: str, headers: dict[str, str], body: bytes) -> int:
        if path in self.objects:
            return 412
        checksum = _base64(hashlib.sha256(body).digest())
        if headers.get("x-amz-checksum-sha256") != checksum or "transfer-encoding" in headers:
            return 400
        self.objects[path] = body
        return 200


def etag(content: bytes) -> str:
    """Make the ETag storage gives an object."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
