"""Health: `/healthz` says the process lives, `/readyz` names each dependency and whether it answers."""

from collections.abc import Callable, Mapping

from flask import Blueprint, Flask, jsonify
from flask.typing import ResponseReturnValue

from common.logs import get_logger

Probe = Callable[[], None]


def check(probes: Mapping[str, Probe]) -> dict[str, bool]:
    """Run every probe; one that raises is not ready."""
    return {name: _answers(name, probe) for name, probe in probes.items()}


def _answers(name: str, probe: Probe) -> bool:
    try:
        probe()
    except Exception as error:  # the edge: any failure of a dependency means the same
        get_logger().warning("dependency_not_ready", dependency=name, error=type(error).__name__)
        return False
    return True


def register(app: Flask, probes: Mapping[str, Probe], *, names: bool = True) -> None:
    """Serve both pages; `names=False` keeps the dependencies' names from a public door."""
    pages = Blueprint("health", __name__)

    @pages.get("/healthz")
    def healthz() -> ResponseReturnValue:
        return jsonify(status="ok")

    @pages.get("/readyz")
    def readyz() -> ResponseReturnValue:
        answers = check(probes)
        ready = all(answers.values())
        body = {"status": "ready" if ready else "not ready"}
        return jsonify(body | ({"dependencies": answers} if names else {})), 200 if ready else 503

    app.register_blueprint(pages)
