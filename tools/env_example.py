"""Write .env.example, every setting of every process, from their settings classes (`--check` compares)."""

import argparse
import importlib
import sys
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from common.settings import Variable, variables

TARGET = Path(".env.example")
PACKAGES = ("gateway", "issuer", "jobs", "outputs", "executor")
HEAD = """\
# Every setting of every process, written by `make env-example`. Secrets may also be given as NAME_FILE,
# the path of a file that holds the value. Settings that are not commented out are required. Every web
# process also reads HOST, PORT, METRICS_PORT, WEB_WORKERS, WEB_THREADS, WEB_WORKER_CLASS and WEB_CONNECTIONS;
# the local stack sets them all.
"""


def text() -> str:
    """Render the file: a section a settings class, a line of help above each variable."""
    return HEAD + "".join(f"\n# {name}\n{_lines(cls)}" for name, cls in _classes())


def _classes() -> Iterator[tuple[str, type[Any]]]:
    for package in PACKAGES:
        module = importlib.import_module(f"{package}.config")
        for name, cls in sorted(vars(module).items()):
            own = isinstance(cls, type) and is_dataclass(cls) and cls.__module__ == module.__name__
            if own and all("variable" in each.metadata for each in cls.__dataclass_fields__.values()):
                yield f"{package}: {name}", cls


def _lines(cls: type[Any]) -> str:
    return "".join(f"# {each.help}\n{_assignment(each)}\n" for each in variables(cls))


def _assignment(variable: Variable) -> str:
    if variable.is_required:
        return f"{variable.name}="
    value = variable.default
    shown = " ".join(map(str, value)) if isinstance(value, tuple) else "" if value is None else value
    return f"# {variable.name}={shown}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when the committed file is not current")
    if not parser.parse_args().check:
        TARGET.write_text(text())
    elif not TARGET.exists() or TARGET.read_text() != text():
        sys.exit(f"{TARGET} is not current. Run: make env-example")
    print(f"{TARGET}: current")


if __name__ == "__main__":
    main()
