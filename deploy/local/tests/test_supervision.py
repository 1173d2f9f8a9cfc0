import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from signal import SIGKILL

import pytest
import redis

from stack.errors import NotReady, PortTaken
from stack.guard import Guard
from stack.layout import Layout, make_folders
from stack.ports import ports_for_tests, variable_of
from stack.processes import Process
from stack.progress import Silent
from stack.readiness import start_in_order
from stack.supervise import Supervisor
from stack.testing import LocalStack

pytestmark = pytest.mark.servers


def command_line(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stack", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_killed_process_comes_back_under_another_pid(supervised: LocalStack) -> None:
    before = supervised.pid("valkey")
    supervised.kill("valkey")
    supervised.wait_ready("valkey")
    assert supervised.pid("valkey") != before


@pytest.mark.parametrize("name", ["postgres", "seaweed"])
def test_a_killed_server_comes_back_on_its_port(supervised: LocalStack, name: str) -> None:
    supervised.kill(name)
    supervised.wait_ready(name)
    assert supervised.pid(name)


def test_a_stopped_process_stays_down_until_it_is_started(supervised: LocalStack) -> None:
    supervised.stop("valkey")
    assert supervised.pid("valkey") == 0
    with pytest.raises(NotReady):
        supervised.signal("valkey", SIGKILL)
    supervised.start("valkey")
    with redis.Redis.from_url(supervised.redis_url("admin")) as client:
        assert client.ping()


def test_coming_up_twice_is_harmless(supervised: LocalStack) -> None:
    before = supervised.pid("postgres")
    supervised.stack.bring_up()
    assert supervised.pid("postgres") == before


def test_a_taken_port_is_found_before_anything_starts(supervised: LocalStack) -> None:
    supervised.stop("valkey")
    with (
        socket.create_server(("127.0.0.1", supervised.stack.ports.redis)),
        pytest.raises(PortTaken, match="REDIS_PORT"),
    ):
        supervised.stack.bring_up()
    supervised.start("valkey")


def test_down_is_harmless_when_nothing_runs(tmp_path: Path) -> None:
    answer = command_line("down", TAXIWAY_STATE=str(tmp_path / "state"))
    assert answer.returncode == 0
    assert "does not run" in answer.stdout


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder others may enter, as PostgreSQL's user must where there are no user namespaces."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Path(name)


def test_up_twice_and_down_twice_are_harmless_and_later_commands_know_the_ports(open_folder: Path) -> None:
    ports = {variable_of(name): str(port) for name, port in asdict(ports_for_tests()).items()}
    state = {"TAXIWAY_STATE": str(open_folder / "state")}
    try:
        ups = [command_line("up", "--servers-only", **state, **ports) for _ in range(2)]
        assert [answer.returncode for answer in ups] == [0, 0], ups
        assert "runs already" in ups[1].stdout
        assert ports["REDIS_PORT"] in command_line("status", **state).stdout
    finally:
        downs = [command_line("down", **state) for _ in range(2)]
    assert [answer.returncode for answer in downs] == [0, 0]
    assert "does not run" in downs[1].stdout


def test_a_folder_that_is_no_state_folder_is_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("dear")
    answer = command_line("reset", TAXIWAY_STATE=str(tmp_path))
    assert answer.returncode == 1
    assert (tmp_path / "letter").exists()


def test_an_unusable_state_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = command_line("up", TAXIWAY_STATE=str(tmp_path / "file" / "state"))
    assert answer.returncode == 1
    assert answer.stdout.count("\n") == 1
    assert "set TAXIWAY_STATE" in answer.stdout


def test_a_process_that_cannot_start_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    # A state folder this deep is too long for a socket beside it.
    layout = Layout(root=tmp_path / ("deep" * 30))
    layout.root.mkdir()
    make_folders(layout)
    faulty = Process(
        name="faulty",
        command=(sys.executable, "-c", "raise SystemExit('no settings')"),
        folder=tmp_path,
        environment={},
        ports={"FAULTY_PORT": 1},
        is_ready=lambda: False,
    )
    supervisor = Supervisor(layout)
    supervisor.write([faulty])
    supervisor.ensure_running()
    try:
        with pytest.raises(NotReady, match="faulty is not ready: it ends again and again") as caught:
            start_in_order([faulty], supervisor, layout, Silent())
    finally:
        supervisor.shutdown()
    assert "no settings" in caught.value.log_tail
    assert not supervisor.is_running


def test_what_a_killed_test_run_leaves_is_ended_and_removed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    guard = Guard(folder).watch(orphan.pid)
    guard.close()  # what the kernel does to the pipe when the parent is killed
    assert orphan.wait(5) == -SIGKILL
    assert _soon_gone(folder)


def _soon_gone(path: Path) -> bool:
    deadline = time.monotonic() + 5
    while path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not path.exists()
