"""Fetch a bundle's archive, unpack it safely, and say how it is to be run.

The archive is cached under its digest and checked each time it is used; each run unpacks its own copy, so
that no run can change another's.
"""

import hashlib
import os
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from executor.failures import CLIENT, TRANSIENT, RunFailed
from executor.transfers import Gone, Store
from executor.work_order import Archive, Mapped, WorkOrder

LARGEST_BYTES = 256 * 1024 * 1024
MOST_FILES = 5000
METADATA = ("_metadata.yaml", "_metadata.yml")
PROJECTS = ("earthmover.yaml", "earthmover.yml")
ECHO, EARTHMOVER = "echo", "earthmover"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """An unpacked bundle. `root` holds `packages/` too, `folder` is the bundle's own."""

    root: Path
    folder: Path
    metadata: Mapping[str, Any]
    kind: str

    def file_types(self, key: str) -> list[str]:
        """List the extensions an input may have, as the metadata declares them."""
        for each in self.metadata.get("input_files") or []:
            if each.get("env_var") == key:
                types = each.get("file_type") or []
                return [str(name).lower() for name in ([types] if isinstance(types, str) else types)]
        return []

    @property
    def report_resources(self) -> list[str]:
        return [str(name) for name in self.metadata.get("report_resources") or []]


@dataclass(frozen=True, kw_only=True)
class Project:
    """What earthmover is told to run: its config file, and the parameters the mode adds."""

    config: Path
    params: Mapping[str, str]


def fetch(archive: Archive, cache: Path, store: Store) -> Path:
    """Return the archive's file, downloaded unless it is cached, its digest checked either way."""
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"{archive.sha256}.tar.gz"
    if path.exists() and digest(path) == archive.sha256:
        return path
    arriving = path.with_suffix(f".{os.getpid()}")
    try:
        store.download(archive.url, arriving)
    except Gone as error:
        raise RunFailed("bundle_unavailable", "The bundle's archive is not in storage.", TRANSIENT) from error
    if digest(arriving) != archive.sha256:
        arriving.unlink()
        raise RunFailed(
            "bundle_changed", "The bundle's archive is not the one the job was made with.", CLIENT
        )
    arriving.replace(path)
    return path


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(archive: Path, root: Path) -> None:
    """Unpack regular files and folders below `root`; anything else is RunFailed (`bad_bundle`)."""
    size = count = 0
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                size, count = size + member.size, count + 1
                if not _is_safe(member) or size > LARGEST_BYTES or count > MOST_FILES:
                    raise _bad(f"its archive holds {member.name[:100]!r}, which is not allowed")
                _write(tar, member, root)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise _bad("its archive cannot be read") from error


def _is_safe(member: tarfile.TarInfo) -> bool:
    path = PurePosixPath(member.name)
    is_inside = not path.is_absolute() and ".." not in path.parts and "\\" not in member.name
    return is_inside and (member.isreg() or member.isdir())


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, root: Path) -> None:
    target = root / member.name
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(member)
    if content is not None:
        target.write_bytes(content.read())


def load(root: Path, key: str) -> Bundle:
    """Find the bundle in what was unpacked: at its key, else at the root. Raises RunFailed (`bad_bundle`)."""
    for folder in (root / key, root):
        for name in METADATA:
            if (folder / name).is_file():
                metadata = _yaml(folder / name)
                return Bundle(root=root, folder=folder, metadata=metadata, kind=_kind(folder))
    raise _bad("it has no metadata")


def _kind(folder: Path) -> str:
    """A bundle is run by earthmover, unless its `executor.yaml` says `kind: echo` (for tests)."""
    described = folder / "executor.yaml"
    if described.is_file() and not any((folder / name).is_file() for name in PROJECTS):
        kind = str(_yaml(described).get("kind"))
        if kind != ECHO:
            raise _bad("its executor.yaml names a kind this executor does not know")
        return kind
    return EARTHMOVER


def _yaml(path: Path) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _bad(f"its {path.name} is not YAML") from error
    if not isinstance(document, Mapping):
        raise _bad(f"its {path.name} is not a mapping")
    return document


def replace_mappings(bundle: Bundle, mappings: tuple[Mapped, ...], store: Store) -> None:
    """Put the partner's descriptor mappings in the place of the bundle's own, wherever it keeps them."""
    declared = bundle.metadata.get("descriptor_mapping_files") or []
    for each in mappings:
        if each.file_name not in declared:
            continue
        for place in sorted(bundle.folder.rglob(each.file_name)):
            try:
                store.download(each.url, place)
            except Gone as error:
                raise RunFailed(
                    "mapping_unavailable", f"The mapping {each.file_name} is gone.", TRANSIENT
                ) from error
            if each.sha256 and digest(place) != each.sha256:
                raise RunFailed(
                    "mapping_changed", f"The mapping {each.file_name} is another one now.", CLIENT
                )


def prepare(bundle: Bundle, order: WorkOrder) -> Project:
    """Make the bundle ready to run in the mode the work order asks for."""
    mode = MODES.get(order.archive.mode)
    if mode is None:
        sentence = f"This executor cannot run bundles in the mode {order.archive.mode!r}."
        raise RunFailed("unsupported_mode", sentence, CLIENT)
    return mode(bundle, order)


def _direct(bundle: Bundle, order: WorkOrder) -> Project:
    """Run the bundle's own project; the id column is in its parameters."""
    for name in PROJECTS:
        if (bundle.folder / name).is_file():
            return Project(config=bundle.folder / name, params={})
    raise _bad("it has no earthmover.yaml")


MODES: dict[str, Callable[[Bundle, WorkOrder], Project]] = {"direct": _direct}


def _bad(reason: str) -> RunFailed:
    return RunFailed("bad_bundle", f"The bundle cannot be run: {reason}.", CLIENT)
