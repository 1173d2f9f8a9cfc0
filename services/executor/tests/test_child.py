"""Children: what they can reach, how they are stopped, and what their end is called."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from executor.failures import Ended, explain
from executor.forge import Forge
from executor.orders import EARTHMOVER, Limits, Order
from executor_sdk import Cancelled, Failure

pytestmark = pytest.mark.slow

PROJECT = """
version: 2
config:
  output_dir: ${{OUTPUT_DIR}}
sources:
  rows:
    file: {file}
    header_rows: 1
transformations:
  made:
    source: $sources.rows
    operations:
      - operation: {operation}
destinations:
  made:
    source: $transformations.made
    template: ./made.jsont
    extension: jsonl
"""
KEEP = "keep_columns\n        columns: [a]"
PROBE = """
import json, os, resource, signal, sys
from executor import child
from executor.orders import Limits, Order

def probe(arguments, folder):
    facts = {
        "environment": dict(os.environ),
        "descriptors": sorted(int(each) for each in os.listdir("/proc/self/fd")),
        "leads_its_session": os.getsid(0) == os.getpid() == os.getpgid(0),
        "folder": os.getcwd(),
        "memory": resource.getrlimit(resource.RLIMIT_DATA)[0],
        "file": resource.getrlimit(resource.RLIMIT_FSIZE)[0],
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
    }
    print(json.dumps(facts))

child.PROGRAMS["probe"] = probe
secret = open("/dev/zero")
limits = Limits(timeout_seconds=5, memory_mb=512, file_mb=16, open_files=64)
order = Order(program="probe", arguments=[], folder=sys.argv[1], limits=limits)
if os.fork() == 0:
    child.become(order, os.dup(1))
os.wait()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n3,4\n", encoding="utf-8")
    return tmp_path


def make(
    folder: Path, *, template: str = '{"a": "{{a}}"}', operation: str = KEEP, file: str = "", **limits: Any
) -> Order:
    config = folder / "earthmover.yaml"
    config.write_text(PROJECT.format(file=file or folder / "rows.csv", operation=operation), encoding="utf-8")
    (folder / "made.jsont").write_text(template, encoding="utf-8")
    given = {"timeout_seconds": 60.0, "memory_mb": 1024, "file_mb": 64, "open_files": 128} | limits
    params = json.dumps({"OUTPUT_DIR": str(folder / "out")})
    return Order(
        program=EARTHMOVER,
        arguments=["run", "-k", "-c", str(config), "--params", params],
        folder=str(folder / "home"),
        limits=Limits(**given),
    )


def run(forge: Forge, order: Order, check: Callable[[], None] = lambda: None) -> tuple[list[str], Ended]:
    lines: list[str] = []
    return lines, forge.run(order, hear=lines.append, check=check)


def told(forge: Forge, order: Order) -> Failure:
    lines, ended = run(forge, order)
    assert ended.exit_code != 0
    return explain(lines, ended, memory_mb=order.limits.memory_mb)


def test_a_child_has_no_secrets_and_no_way_out(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "DATABASE_PASSWORD": "secret",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    command = [sys.executable, "-c", PROBE, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=True)
    facts = json.loads(done.stdout)
    assert set(facts["environment"]) <= {"PATH", "LANG", "PYTHONHASHSEED", "HOME", "TMPDIR"}
    assert facts["environment"]["HOME"] == facts["folder"] == str(tmp_path)
    assert facts["descriptors"] == [0, 1, 2, 3]  # 3 is the listing of the folder itself
    assert facts["leads_its_session"]
    assert (facts["memory"], facts["file"], facts["core"]) == (512 << 20, 16 << 20, 0)


def test_templates_find_nothing_of_the_executor_in_the_environment(
    forge: Forge, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://secret")
    _lines, ended = run(forge, make(folder, template="{{a}} ${REDIS_URL} ${PYTHONPATH}"))
    assert ended.exit_code == 0
    assert (
        folder / "out" / "made.jsonl"
    ).read_text() == "1 ${REDIS_URL} ${PYTHONPATH}\n3 ${REDIS_URL} ${PYTHONPATH}\n"


@pytest.mark.parametrize(
    ("changes", "code", "names"),
    [
        ({"operation": "keep_columns\n        columns: [a, SCORE]"}, "missing_column", "SCORE"),
        ({"operation": "rename_columns\n        columns: {SCORE: score}"}, "missing_column", "SCORE"),
        ({"template": "{{ SCORE.b }}"}, "missing_column", "SCORE"),
        ({"template": "{{ a.b.c }}"}, "template_error", ""),
        ({"template": "{{ a "}, "template_error", ""),
        ({"file": "./nowhere.csv"}, "missing_file", "nowhere.csv"),
        ({"file": "${SECOND_FILE}"}, "missing_parameter", "SECOND_FILE"),
        ({"operation": "map_values\n        column: a\n        map_file: ./x.csv"}, "bundle_failed", ""),
        ({"template": "{{ 'x' * 3000000000 }}"}, "out_of_memory", "memory"),
        ({"template": "{{ 'x' * (a|int * 3000000000) }}"}, "out_of_memory", "memory"),
        ({"template": "{{ 'x' * 40000000 }}", "file_mb": 8}, "output_too_large", ""),
        ({"template": "{% for i in range(100000000) %}{% endfor %}", "timeout_seconds": 2}, "timed_out", ""),
    ],
)
def test_what_went_wrong_is_told_in_one_sentence(
    forge: Forge, folder: Path, changes: dict[str, Any], code: str, names: str
) -> None:
    failure = told(forge, make(folder, **changes))
    assert failure.code == code
    assert names in failure.sentence
    assert str(folder) not in failure.sentence


@pytest.mark.parametrize(
    ("content", "code", "names"),
    [
        ("a,b\n1,2\n3,4,5,6\n", "unreadable_csv", "Line 3"),
        ('a,b\n1,"2\n3,4\n', "unreadable_csv", "quotation mark"),
    ],
)
def test_a_csv_that_cannot_be_read_names_its_line(
    forge: Forge, folder: Path, content: str, code: str, names: str
) -> None:
    (folder / "rows.csv").write_text(content, encoding="utf-8")
    failure = told(forge, make(folder))
    assert failure.code == code
    assert names in failure.sentence


def test_an_interrupted_child_is_dead_and_the_next_one_runs(forge: Forge, folder: Path) -> None:
    began = time.monotonic()

    def check() -> None:
        if time.monotonic() - began > 1:
            raise Cancelled

    endless = make(
        folder, template="{% for i in range(100000000) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    )
    with pytest.raises(Cancelled):
        run(forge, endless, check)
    assert children_of(forge) == []
    assert run(forge, make(folder))[1].exit_code == 0


def test_a_killed_child_is_called_crashed(forge: Forge, folder: Path) -> None:
    endless = make(
        folder, template="{% for i in range(99999999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    )
    threading.Timer(1.0, lambda: os.kill(children_of(forge)[0], signal.SIGKILL)).start()
    failure = told(forge, endless)
    assert (failure.code, failure.retryable) == ("crashed", True)


def test_a_dead_smith_is_replaced(forge: Forge, folder: Path) -> None:
    run(forge, make(folder))
    assert forge.pid is not None
    os.kill(forge.pid, signal.SIGKILL)
    time.sleep(0.2)
    assert run(forge, make(folder))[1].exit_code == 0


def test_shortcuts_do_not_change_a_byte(forge: Forge, folder: Path) -> None:
    operation = "modify_columns\n        columns:\n          b: '{%raw%}{{ value|int + 1 }}{%endraw%}'"
    order = make(folder, operation=operation, template='{"a": "{{a}}", "b": {{b}}}')
    run(forge, order)
    made = (folder / "out" / "made.jsonl").read_bytes()
    (folder / "out" / "made.jsonl").unlink()
    command = [sys.executable, "-m", "earthmover", *order.arguments]
    subprocess.run(command, env={"PYTHONHASHSEED": "0"}, check=True, capture_output=True, timeout=60)
    assert (folder / "out" / "made.jsonl").read_bytes() == made == b'{"a": "1", "b": 3}\n{"a": "3", "b": 5}\n'


def children_of(forge: Forge) -> list[int]:
    text = Path(f"/proc/{forge.pid}/task/{forge.pid}/children").read_text()
    return [int(each) for each in text.split()]
