"""Resolve the dependencies anew and pin them with hashes; no line names an index.

One set of versions serves every service: each service's own requirements.txt is cut from it, for its image.
"""

import subprocess
import sys
from pathlib import Path

SERVICES = ("auth-gateway", "jobs", "outputs", "executor")
OWN = ("taxiway-common", "taxiway-executor-sdk")
LIBRARIES = ("common", "client", "executor-sdk")


def main() -> None:
    folders = [f"libs/{name}" for name in LIBRARIES] + [f"services/{name}" for name in SERVICES]
    projects = [f"{folder}/pyproject.toml" for folder in folders]
    _compile([*projects, "deploy/local/pyproject.toml", "requirements/dev.in"], "requirements/dev.txt")
    _compile(["requirements/installer.in"], "requirements/installer.txt")
    for name in SERVICES:
        place = f"services/{name}"
        _compile([f"{place}/pyproject.toml"], f"{place}/requirements.txt", "-c", "requirements/dev.txt")


def _compile(sources: list[str], target: str, *more: str) -> None:
    own = [word for name in OWN for word in ("--no-emit-package", name)]
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--python-version", "3.11"]
    command += ["--generate-hashes", "--no-header", "--no-annotate", *own, *more, *sources, "-o", target]
    subprocess.run(command, check=True)
    print(f"{target}: {sum(1 for line in Path(target).read_text().splitlines() if '==' in line)} packages")


if __name__ == "__main__":
    main()
