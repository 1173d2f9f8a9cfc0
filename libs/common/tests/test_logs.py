"""Lines of a process of its own: whose request they are of, and when there is none."""

import json
import subprocess
import sys
from typing import Any

SCRIPT = """
import sys
from common import logs
from common.api import Blueprint, create_app
from common.clock import FixedClock
from common.principal import Principal

logs.configure("example", sys.argv[1])
blp = Blueprint("x", "x", url_prefix="/x")
callers = [
    Principal(kind="run", subject="r", run="r-1"),
    Principal(kind="client", subject="c", client_id="c-1"),
]

@blp.route("")
@blp.admits(kinds=("run", "client"))
@blp.response(204)
def warn():
    logs.get_logger().warning("said")
    return "", 204

app = create_app(
    name="example", title="Example", authenticate=lambda _: callers.pop(0), blueprints=[blp],
    errors={}, probes={}, clock=FixedClock(),
)
for number in (1, 2):
    app.test_client().get("/x", headers={"X-Request-Id": f"id-{number}"})
"""


def lines(level: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, level], capture_output=True, text=True, check=True, timeout=60
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_lines_say_the_request_and_run_they_are_of_and_none_before() -> None:
    said = [(line["event"], line["request_id"], line.get("run")) for line in lines("info")]
    assert said == [
        ("said", "id-1", "r-1"),
        ("request", "id-1", "r-1"),
        ("said", "id-2", None),
        ("request", "id-2", None),
    ]


def test_a_line_a_request_says_who_asked_for_what() -> None:
    found = [line for line in lines("info") if line["event"] == "request"][1]
    assert (found["method"], found["path"], found["route"], found["status"]) == ("GET", "/x", "/x", 204)
    assert (found["client"], found["service"], found["level"]) == ("c-1", "example", "info")


def test_requests_have_no_line_where_only_warnings_are_said() -> None:
    assert [line["event"] for line in lines("warning")] == ["said", "said"]
