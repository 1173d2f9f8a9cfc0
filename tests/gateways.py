"""More gateways in front of a running stack, told something else than its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM

from stack.launch import Launch, Server
from stack.ports import free_port
from stack.processes import answers_ok
from stack.testing import LocalStack


@contextmanager
def another_gateway(stack: LocalStack, folder: Path, **environment: str) -> Iterator[str]:
    """Run a second gateway with one worker, so that it has one cache of keys; yields its URL."""
    usual = stack.stack.plan.named("gateway")
    port, metrics_port = free_port(), free_port()
    told = {"PORT": str(port), "METRICS_PORT": str(metrics_port), "WEB_WORKERS": "1", "TMPDIR": str(folder)}
    launch = Launch(
        name="another gateway",
        command=usual.command,
        folder=usual.folder,
        stop_signal=SIGTERM,
        is_ready=answers_ok(f"http://127.0.0.1:{port}/healthz"),
        environment={**usual.environment, **told, **environment},
    )
    server = Server(launch, folder / "gateway.log", on_start=lambda _: None)
    try:
        server.start().wait_ready(timeout_seconds=60)
        yield f"http://localhost:{port}"
    finally:
        server.stop()
