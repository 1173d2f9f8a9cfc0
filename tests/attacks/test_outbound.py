"""URLs that people give us, where the operator allows no address of our own network (SSRF)."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from signal import SIGTERM
from typing import Any

import pytest
from driving import Client
from gateways import another_gateway

from stack.launch import Launch, Server
from stack.ports import free_port
from stack.processes import answers_ok
from stack.testing import LocalStack

INNER = (
    "http://127.0.0.1:{port}/",
    "http://localhost:{port}/",
    "http://LOCALHOST:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f.1:{port}/",
    "http://0:{port}/",
    "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[64:ff9b::7f00:1]:{port}/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://10.0.0.1/",
    "http://192.168.0.1/",
    "http://100.64.0.1/",
)
NO_URLS = (
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/_GET",
    "ftp://127.0.0.1/",
    "http://user:password@127.0.0.1:{port}/",
    "http://good.example@127.0.0.1:{port}/",
    "http://127.0.0.1\\@good.example/",
    "//127.0.0.1:{port}/",
    "http:127.0.0.1",
    "http://good.example:0/",
    "http://good.example/\r\nX: y",
    "javascript:alert(1)",
    "",
)
ODS = "/api/v1/admin/partners/outbound/tenants/outbound/ods/2026"


@pytest.fixture(scope="module")
def inner() -> Iterator[tuple[int, list[str]]]:
    """A server of our own network, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, asked
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def strict(system: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway before a jobs service that may reach no address of our own network."""
    folder, usual = tmp_path_factory.mktemp("strict"), system.stack.plan.named("jobs")
    told = {"PORT": str(free_port()), "METRICS_PORT": str(free_port()), "WEB_WORKERS": "1"}
    launch = Launch(
        name="strict jobs",
        command=usual.command,
        folder=usual.folder,
        stop_signal=SIGTERM,
        is_ready=answers_ok(f"http://127.0.0.1:{told['PORT']}/readyz"),
        environment={**usual.environment, **told, "ODS_ALLOWED_HOSTS": "", "TMPDIR": str(folder)},
    )
    server = Server(launch, folder / "jobs.log", on_start=lambda _: None)
    try:
        server.start().wait_ready(timeout_seconds=60)
        with another_gateway(system, folder, JOBS_URL=f"http://127.0.0.1:{told['PORT']}") as url:
            yield url
    finally:
        server.stop()


@pytest.fixture(scope="module")
def editor(system: LocalStack, strict: str) -> Client:
    client = Client(strict, system.issuer_url, "taxiway-admin", "admin-secret-123", "")
    tenants = [{"code": "outbound"}]
    client.call("PUT", "/api/v1/admin/partners/outbound", {"name": "Outbound", "tenants": tenants})
    client.call("PUT", "/api/v1/admin/partners/outbound/school-years/2026", {})
    return client


@pytest.mark.parametrize("url", INNER)
@pytest.mark.parametrize("member", ["url", "tokenUrl"])
def test_an_ods_inside_our_network_is_not_called(
    editor: Client, inner: tuple[int, list[str]], url: str, member: str
) -> None:
    port, asked = inner
    ods = {"url": url.format(port=port), "clientId": "c", "clientSecret": "s"}
    if member == "tokenUrl":
        ods |= {"url": "http://[2001:db8::1]:9", "tokenUrl": url.format(port=port)}
    assert editor.send("PUT", ODS, ods).status in (200, 201)
    steps = editor.call("POST", f"{ODS}/check")["steps"]
    [step] = [step for step in steps if (step["url"] or "").startswith(ods[member].rstrip("/"))][-1:]
    assert (step["passed"], "inside our own network" in step["message"]) == (False, True)
    assert asked == []


@pytest.mark.parametrize("url", NO_URLS)
def test_what_is_no_plain_url_is_refused_wherever_one_is_given(
    ea: Client, editor: Client, inner: tuple[int, list[str]], url: str
) -> None:
    port, asked = inner
    hook = {"partner": "ea", "url": url.format(port=port), "events": ["run.failed"]}
    assert ea.send("POST", "/v1/webhooks", hook).status == 400
    ods = {"url": url.format(port=port), "clientId": "c", "clientSecret": "s"}
    if editor.send("PUT", ODS, ods).status != 400:
        assert not any(step["passed"] for step in editor.call("POST", f"{ODS}/check")["steps"])
    assert asked == []


def test_a_webhook_inside_our_network_is_not_called(
    system: LocalStack, ea: Client, inner: tuple[int, list[str]], tmp_path: Path
) -> None:
    """By a courier that is allowed nothing, beside the stack's own that stands still."""
    port, asked = inner
    urls = [url.format(port=port) for url in INNER]
    usual = system.stack.plan.named("courier")
    metrics_port = free_port()
    launch = Launch(
        name="strict courier",
        command=usual.command,
        folder=usual.folder,
        stop_signal=SIGTERM,
        is_ready=answers_ok(f"http://127.0.0.1:{metrics_port}/metrics"),
        environment={
            **usual.environment,
            "METRICS_PORT": str(metrics_port),
            "WEBHOOK_ALLOWED_HOSTS": "",
            "TMPDIR": str(tmp_path),
        },
    )
    with system.stopped("courier"):
        hooks = [
            ea.call("POST", "/v1/webhooks", {"partner": "ea", "url": url, "events": ["run.failed"]})["id"]
            for url in urls
        ]
        server = Server(launch, tmp_path / "courier.log", on_start=lambda _: None)
        try:
            server.start().wait_ready(timeout_seconds=60)
            uid = ea.create("tests/echo", {"INPUT_FILE": "input.csv"})
            ea.upload(uid["uploadUrls"]["INPUT_FILE"], b"one\n")
            ea.call("POST", f"/api/v1/jobs/{uid['uid']}/start", {"executor": "caller"})
            ea.call("POST", f"/api/v1/jobs/{uid['uid']}/cancel")
            for hook in hooks:
                require_refused(ea, hook)
        finally:
            server.stop()
            for hook in hooks:
                ea.send("DELETE", f"/v1/webhooks/{hook}")
    assert asked == []


def require_refused(ea: Client, hook: str) -> None:
    """Wait until a delivery was tried, and fail unless it was refused."""
    for _ in range(300):
        items = ea.call("GET", f"/v1/webhooks/{hook}/deliveries")["items"]
        if items and items[0]["tries"] and items[0]["last_error"]:
            break
        threading.Event().wait(0.1)
    assert "inside our own network and not in WEBHOOK_ALLOWED_HOSTS" in items[0]["last_error"]
