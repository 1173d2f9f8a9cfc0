"""Peers come from Debian, PyPI and npm, into .taxiway/bench; nothing of them is part of this repository."""

import json
import os
import re
import shutil
import subprocess
import venv
from pathlib import Path

from bench.place import ROOT

FOLDER = ROOT / ".taxiway" / "bench"
CONFIGURATIONS = Path(__file__).parent / "programs"
SYSTEM_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
INSTALL_SECONDS = 900


class Missing(Exception):
    """A peer, or something a row needs, is not here; the message says what to do."""


def debian(package: str, program: str) -> str:
    """Find a program of a Debian package, installing the package as root. Raises Missing."""
    found = shutil.which(program, path=SYSTEM_PATH)
    if not found and os.geteuid() == 0:
        _run("apt-get", "install", "-y", "-qq", "--no-install-recommends", package)
        found = shutil.which(program, path=SYSTEM_PATH)
    if not found:
        raise Missing(f"{program} is needed: apt-get install {package}")
    return found


def python(*packages: str) -> Path:
    """Install packages of PyPI for peers; return the folder of their programs. Raises Missing."""
    programs = FOLDER / "venv" / "bin"
    if not (programs / "python").exists():
        venv.create(programs.parent, with_pip=True)
    names = [re.split(r"[\[=]", package)[0] for package in packages]
    if any(not version(name) for name in names):
        _run(programs / "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
    return programs


def node(*packages: str) -> Path:
    """Install packages of npm; return the folder they can be imported from. Raises Missing."""
    npm = debian("npm", "npm")
    folder = FOLDER / "node"
    folder.mkdir(parents=True, exist_ok=True)
    if any(not node_version(package) for package in packages):
        _run(npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, *packages)
    return folder


def version(package: str) -> str:
    """Tell the version of a package of the peers' Python environment; empty when it is not there."""
    name = re.sub(r"[-_.]+", "[-_.]", package)
    pattern = re.compile(rf"{name}-([^-]+)\.dist-info", re.IGNORECASE)
    folders = (FOLDER / "venv").glob("lib/python*/site-packages/*.dist-info")
    return next((found[1] for each in folders if (found := pattern.fullmatch(each.name))), "")


def node_version(package: str) -> str:
    """Tell the version of an npm package; empty when it is not there."""
    path = FOLDER / "node" / "node_modules" / package / "package.json"
    return str(json.loads(path.read_text(encoding="utf-8"))["version"]) if path.exists() else ""


def program_version(*command: str) -> str:
    """Tell what a program says its version is: the first number with a dot."""
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+(\.\d+)?", said.stdout + said.stderr)
    return found[0] if found else ""


def configuration(name: str, **values: object) -> str:
    """Fill in a peer's configuration file; `@NAME@` stands for a value."""
    text = (CONFIGURATIONS / name).read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace(f"@{key.upper()}@", str(value))
    return text


def _run(*command: str | Path) -> None:
    words = [str(word) for word in command]
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run(words, check=True, capture_output=True, env=quiet, timeout=INSTALL_SECONDS)
    except (subprocess.SubprocessError, OSError) as error:
        said = getattr(error, "stderr", b"") or b""
        raise Missing(f"`{' '.join(words[:3])} …` failed: {said.decode(errors='replace')[-300:]}") from error
