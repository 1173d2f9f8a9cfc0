"""Make the virtual environment: pinned and hashed dependencies, then our own packages in place.

Runs on the bare interpreter, before anything is installed.
"""

import argparse
import subprocess
import sys
import time
import venv
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", required=True)
    parser.add_argument("--lock", required=True)
    parser.add_argument("packages", nargs="+")
    options = parser.parse_args()
    if sys.version_info[:2] != (3, 11):
        sys.exit(f"Python 3.11 is needed; this is {sys.version.split()[0]}. Set PYTHON=python3.11.")
    started = time.monotonic()
    python = _environment(Path(options.venv))
    _say(f"installing the pinned packages of {options.lock} (a minute or two, once)")
    _pip(python, "--require-hashes", "--no-deps", "-r", "requirements/installer.txt")
    _install(python, options.lock)
    _say("linking our own packages")
    places = [word for package in options.packages for word in ("-e", package)]
    _pip(python, "--no-deps", "--no-build-isolation", *places)
    _say(f"installed in {time.monotonic() - started:.0f} s")


def _environment(folder: Path) -> Path:
    python = folder / "bin" / "python"
    if not python.exists():
        try:
            venv.create(folder, with_pip=True, clear=folder.exists())
        except subprocess.CalledProcessError:
            sys.exit("Python cannot make virtual environments here: apt-get install python3.11-venv")
    return python


def _install(python: Path, lock: str) -> None:
    """Install with uv, which takes a sixth of the time; with pip where only pip knows the way to an index."""
    command = [str(python), "-m", "uv", "pip", "install", "--quiet", "--python", str(python)]
    if subprocess.run([*command, "--require-hashes", "--no-deps", "-r", lock], check=False).returncode:
        _say("uv could not install them; trying pip")
        _pip(python, "--require-hashes", "--no-deps", "-r", lock)


def _pip(python: Path, *words: str) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    if subprocess.run([*command, *words], check=False).returncode:
        sys.exit("The installation failed; what pip said is above.")


def _say(line: str) -> None:
    print(f"  {line}", flush=True)


if __name__ == "__main__":
    main()
