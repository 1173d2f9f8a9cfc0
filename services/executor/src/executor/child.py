"""What a forked child does: shut every door behind itself, then run one program in its own folder."""

import ctypes
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from executor.orders import EARTHMOVER, LIGHTBEAM, MARK, Limits, Order

OUT_OF_MEMORY_EXIT = 86
_PR_SET_PDEATHSIG = 1
_MB = 1024 * 1024


def become(order: Order, output: int) -> NoReturn:
    """Turn this fresh fork into the child of `order`; never returns."""
    code = 1
    try:
        _detach(output)
        _clean_environment(order.folder)
        _limit(order.limits)
        code = _run(order)
    except BaseException:  # the edge of the process: the trace belongs in the run's log
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _detach(output: int) -> None:
    """Get a session of our own, die with the parent, and keep no descriptor but the three."""
    os.setsid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def _clean_environment(folder: str) -> None:
    """Leave nothing in the environment that a template could read: earthmover substitutes from it."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONHASHSEED", "LANG") if name in os.environ}
    os.environ.clear()
    os.environ.update(kept, HOME=folder, TMPDIR=folder)
    os.umask(0o077)
    os.chdir(folder)


def _limit(limits: Limits) -> None:
    """Set the kernel's limits.

    RLIMIT_DATA counts private writable memory, which is what a program really asks for; RLIMIT_AS would count
    every mapped library too, so it is only a wide outer fence.
    """
    memory, cpu = limits.memory_mb * _MB, int(limits.timeout_seconds * (os.cpu_count() or 1)) + 1
    for kind, most in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_AS, memory + 8192 * _MB),
        (resource.RLIMIT_FSIZE, limits.file_mb * _MB),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 5))  # at the first SIGXCPU, which tells the cause


def _run(order: Order) -> int:
    try:
        PROGRAMS[order.program](list(order.arguments), order.folder)
    except SystemExit as end:
        return end.code & 0xFF if isinstance(end.code, int) else int(end.code is not None)
    except MemoryError:
        traceback.print_exc()
        return OUT_OF_MEMORY_EXIT
    return 0


def _earthmover(arguments: list[str], folder: str) -> None:
    from earthmover import __main__ as program
    from earthmover.earthmover import Earthmover

    Earthmover.config_defaults["tmp_dir"] = folder
    _announce_destinations()
    _name_memory_errors()
    _find_local_packages()
    sys.argv = [EARTHMOVER, *arguments]
    program.main()


def _announce_destinations() -> None:
    """Have each destination say that it is written, so that progress is what really happened."""
    from earthmover.nodes.destination import FileDestination

    execute = FileDestination.execute
    done: list[str] = []

    def announced(self: Any, **kwargs: Any) -> None:
        execute(self, **kwargs)
        done.append(self.name)
        _tell(destination=self.name, done=len(done), total=len(self.earthmover.destinations))

    FileDestination.execute = announced


def _name_memory_errors() -> None:
    """Say MemoryError where earthmover would only quote its message, which is empty.

    The word stands on a line of its own here, lest a stack trace through the call below quotes it.
    """
    from earthmover.error_handler import ErrorHandler

    throw = ErrorHandler.throw

    def named(self: Any, message: str) -> None:
        cause = sys.exc_info()[1]
        if isinstance(cause, MemoryError):
            message += " MemoryError"
        throw(self, message)

    ErrorHandler.throw = named


def _find_local_packages() -> None:
    """Put a package that is a folder of the bundle in its place, which `earthmover deps` would do."""
    from earthmover.package import LocalPackage

    find = LocalPackage.get_installed_config_file

    def found(self: Any) -> Any:
        if not os.path.isdir(self.package_path):
            self.install(os.path.dirname(self.package_path))
        return find(self)

    LocalPackage.get_installed_config_file = found


def _lightbeam(arguments: list[str], folder: str) -> None:
    from lightbeam import __main__ as program

    from executor.strict_requests import install

    install()
    sys.argv = [LIGHTBEAM, *arguments]
    program.main()


def _tell(**facts: object) -> None:
    print(f"{MARK}{json.dumps(facts)}", flush=True)  # noqa: T201 - the pipe to the executor


PROGRAMS: dict[str, Callable[[list[str], str], None]] = {EARTHMOVER: _earthmover, LIGHTBEAM: _lightbeam}
