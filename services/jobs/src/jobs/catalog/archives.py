"""Pack a bundle's folders into an archive that is the same, byte for byte, whenever its content is."""

import gzip
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

MAX_FILES = 5000
MAX_ARCHIVE_BYTES = 64 * 1024 * 1024
_LEFT_OUT = {"__pycache__", "node_modules"}


class CannotPack(Exception):
    """The folder holds something an archive of ours must not, or too much."""


def pack(folders: Iterable[tuple[str, Path]]) -> bytes:
    """Pack folders under the names given, in a fixed order, without times, owners or hidden files.

    Raises CannotPack for a symbolic link, a special file, more than MAX_FILES or MAX_ARCHIVE_BYTES.
    """
    members = sorted(_members(folders))
    if len(members) > MAX_FILES:
        raise CannotPack(f"it has more than {MAX_FILES} files")
    buffer, size = io.BytesIO(), 0
    with (
        gzip.GzipFile(filename="", fileobj=buffer, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, path in members:
            content = path.read_bytes()
            size += len(content)
            if size > MAX_ARCHIVE_BYTES:
                raise CannotPack(f"it is larger than {MAX_ARCHIVE_BYTES // 1024 // 1024} MB")
            archive.addfile(_header(name, len(content), path), io.BytesIO(content))
    return buffer.getvalue()


def _members(folders: Iterable[tuple[str, Path]]) -> list[tuple[str, Path]]:
    return [
        (f"{prefix}/{path.relative_to(folder).as_posix()}", path)
        for prefix, folder in folders
        for path in files_of(folder)
    ]


def files_of(folder: Path) -> list[Path]:
    """List the files of a bundle: no hidden ones, no caches."""
    found = []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") or part in _LEFT_OUT for part in parts):
            continue
        if path.is_symlink():
            raise CannotPack(f"{path.relative_to(folder)} is a symbolic link")
        if path.is_file():
            found.append(path)
        elif not path.is_dir():
            raise CannotPack(f"{path.relative_to(folder)} is not a file")
    return found


def _header(name: str, size: int, path: Path) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size = size
    header.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
    return header
