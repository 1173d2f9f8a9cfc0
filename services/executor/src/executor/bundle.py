"""Fetch a bundle's archive, unpack it safely, and say how it is to be run.

The archive is cached under its digest and checked each time it is used; each run unpacks its own copy, so
that no run can change another's.
"""

import hashlib
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from executor.cache import Cache
from executor.failures import RunFailed
from executor.work_order import Archive, Mapped
from executor_sdk.errors import CLIENT, TRANSIENT
from executor_sdk.storage import Gone, Storage

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
    def input_keys(self) -> list[str]:
        """Name every input the bundle knows, whether a run has it or not."""
        return [
            str(each["env_var"]) for each in self.metadata.get("input_files") or [] if each.get("env_var")
        ]

    @property
    def report_resources(self) -> list[str]:
        return [str(name) for name in self.metadata.get("report_resources") or []]


def fetch(archive: Archive, cache: Cache, store: Storage) -> Path:
    """Return the archive's file, downloaded unless it is cached, its digest checked either way."""
    path = cache.place(archive.sha256)
    if not (path.exists() and digest(path) == archive.sha256):
        _download(archive, path, store)
    cache.used(path)
    return path


def _download(archive: Archive, path: Path, store: Storage) -> None:
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
                    raise bad_bundle(f"its archive holds {member.name[:100]!r}, which is not allowed")
                _write(tar, member, root)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise bad_bundle("its archive cannot be read") from error


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
    raise bad_bundle("it has no metadata")


def _kind(folder: Path) -> str:
    """A bundle is run by earthmover, unless its `executor.yaml` says `kind: echo` (for tests)."""
    described = folder / "executor.yaml"
    if described.is_file() and not any((folder / name).is_file() for name in PROJECTS):
        kind = str(_yaml(described).get("kind"))
        if kind != ECHO:
            raise bad_bundle("its executor.yaml names a kind this executor does not know")
        return kind
    return EARTHMOVER


def _yaml(path: Path) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise bad_bundle(f"its {path.name} is not YAML") from error
    if not isinstance(document, Mapping):
        raise bad_bundle(f"its {path.name} is not a mapping")
    return document


def replace_mappings(bundle: Bundle, mappings: tuple[Mapped, ...], store: Storage) -> list[str]:
    """Put the partner's descriptor mappings in the place of the bundle's own; return their names.

    A mapping replaces every file of its name in the bundle, and only if the metadata declares it.
    """
    declared = bundle.metadata.get("descriptor_mapping_files") or []
    replaced = []
    for each in mappings:
        places = [path for path in sorted(bundle.folder.rglob("*")) if path.name == each.file_name]
        if each.file_name not in declared or not places:
            continue
        for place in places:
            _replace(place, each, store)
        replaced.append(each.file_name)
    return replaced


def _replace(place: Path, mapping: Mapped, store: Storage) -> None:
    try:
        store.download(mapping.url, place)
    except Gone as error:
        sentence = f"The mapping {mapping.file_name} is gone."
        raise RunFailed("mapping_unavailable", sentence, TRANSIENT) from error
    if mapping.sha256 and digest(place) != mapping.sha256:
        sentence = f"The mapping {mapping.file_name} is another one now."
        raise RunFailed("mapping_changed", sentence, CLIENT)


def bad_bundle(reason: str) -> RunFailed:
    """Say why a bundle cannot be run at all."""
    return RunFailed("bad_bundle", f"The bundle cannot be run: {reason}.", CLIENT)
