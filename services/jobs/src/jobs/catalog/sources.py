"""Where bundles come from: a folder, or a git repository fetched into one."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FETCH_TIMEOUT_SECONDS = 300
_URL = re.compile(r"(https?|ssh|git|file)://|[\w.-]+@[\w.-]+:")
_ENVIRONMENT = ("PATH", "HOME", "LANG", "SSH_AUTH_SOCK", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY")


class SourceUnusable(Exception):
    """The source is no folder and cannot be fetched."""


@contextmanager
def opened(source: str, ref: str = "") -> Iterator[Path]:
    """Give the folder of a source; a repository's is fetched (one commit) and removed afterwards.

    Raises SourceUnusable.
    """
    if not _URL.match(source) and not ref:
        if not Path(source).is_dir():
            raise SourceUnusable(f"{source} is not a folder")
        yield Path(source).resolve()
        return
    if Path(source).is_dir():
        source = str(Path(source).resolve())
    with tempfile.TemporaryDirectory(prefix="taxiway-bundles-") as folder:
        _fetch(source, ref or "HEAD", folder)
        yield Path(folder).resolve()


def _fetch(source: str, ref: str, folder: str) -> None:
    if source.startswith("-") or ref.startswith("-"):
        raise SourceUnusable("a source or ref does not begin with a dash")
    if shutil.which("git") is None:
        raise SourceUnusable("git is not installed: fetch the repository yourself and import its folder")
    _git(folder, "init", "--quiet")
    _git(folder, "fetch", "--quiet", "--depth=1", "--no-tags", "--", source, ref)
    _git(folder, "checkout", "--quiet", "FETCH_HEAD")


def _git(folder: str, *arguments: str) -> None:
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    # Never asks a person, never runs a helper that a URL names.
    environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file"}
    try:
        done = subprocess.run(  # noqa: S603 (no shell, our own command line)
            ["git", *arguments],  # noqa: S607 (git is found on the PATH)
            cwd=folder,
            env=environment,
            capture_output=True,
            timeout=FETCH_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SourceUnusable(f"git {arguments[0]} took longer than {FETCH_TIMEOUT_SECONDS} s") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise SourceUnusable(f"git {arguments[0]} failed: {said[-1] if said else done.returncode}")
