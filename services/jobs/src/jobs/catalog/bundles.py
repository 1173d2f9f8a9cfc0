"""Bundles: importing them from a source, and finding the ones a partner may use."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import Connection, Engine, text

from common.database import fetch, lock, transaction
from common.objects import ObjectStore
from jobs.catalog import archives, lint, metadata
from jobs.catalog.tables import BundleVersion, EnabledBundle, Enablement

BUNDLE, ECHO = "bundle", "echo"
_METADATA_NAMES = ("_metadata.yaml", "_metadata.yml")
_MAX_METADATA_BYTES = 256 * 1024

_COLUMNS = "v.id, b.key, v.number, v.sha256, v.kind, v.mode, v.metadata, v.warnings"
_FROM = "FROM bundle b JOIN bundle_version v ON v.bundle_id = b.id"
_ENABLED = f"""
    SELECT {_COLUMNS}, e.mode AS enabled_mode, e.student_id_name
    FROM bundle_enablement e
    JOIN bundle b ON b.key = e.bundle_key
    JOIN bundle_version v ON v.id = b.current_version_id
    WHERE e.partner = :partner
"""  # noqa: S608 (our own constants)
_ENABLED_ALL = text(f"{_ENABLED} ORDER BY b.key")
_ENABLED_ONE = text(f"{_ENABLED} AND b.key = :key")
_ENABLEMENTS = text("""
    SELECT bundle_key AS bundle, mode, student_id_name FROM bundle_enablement
    WHERE partner = :partner ORDER BY bundle_key
""")
_VERSION = text(f"SELECT {_COLUMNS} {_FROM} WHERE v.id = :id")
_WITH_CONTENT = text(f"SELECT {_COLUMNS} {_FROM} WHERE b.key = :key AND v.sha256 = :sha256")
_BUNDLE = text("""
    INSERT INTO bundle (key) VALUES (:key)
    ON CONFLICT (key) DO UPDATE SET key = excluded.key
    RETURNING id, current_version_id
""")
_NEW_VERSION = text("""
    INSERT INTO bundle_version (bundle_id, number, sha256, kind, mode, metadata, warnings)
    SELECT :bundle_id, coalesce(max(number), 0) + 1, :sha256, :kind, :mode,
           CAST(:metadata AS jsonb), CAST(:warnings AS jsonb)
    FROM bundle_version WHERE bundle_id = :bundle_id
    RETURNING id, number
""")
_MAKE_CURRENT = text("UPDATE bundle SET current_version_id = :version_id WHERE id = :bundle_id")


class BundleFaulty(Exception):
    """A folder that has metadata cannot be imported."""


@dataclass(frozen=True, kw_only=True)
class Packed:
    """A bundle read from its folder, ready to be stored."""

    key: str
    kind: str
    mode: str
    metadata: dict[str, Any]
    warnings: list[str]
    archive: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.archive).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Report:
    """What became of one folder: a version (`number`), new or known, or a `fault`."""

    name: str
    number: int = 0
    is_new: bool = False
    mode: str = ""
    warnings: tuple[str, ...] = ()
    fault: str = ""


def archive_key(sha256: str) -> str:
    """Name the object that holds an archive."""
    return f"bundles/{sha256}.tar.gz"


def import_all(engine: Engine, store: ObjectStore, root: Path) -> Iterator[Report]:
    """Import every folder under `root` that has metadata; a faulty one is reported and the rest go in."""
    seen: dict[str, str] = {}
    for path in _metadata_files(root):
        name = path.parent.relative_to(root).as_posix() if path.parent != root else root.name
        try:
            packed = pack(path, root)
            if packed.key in seen:
                raise BundleFaulty(f"{packed.key} is also the key of {seen[packed.key]}")
            seen[packed.key] = name
        except (BundleFaulty, OSError) as error:
            yield Report(name=name, fault=str(error))
        else:
            yield store_version(engine, store, packed)


def _metadata_files(root: Path) -> list[Path]:
    found = {path.parent: path for name in reversed(_METADATA_NAMES) for path in root.rglob(name)}
    hidden = (".git", "node_modules")
    return [
        found[folder] for folder in sorted(found) if not set(hidden) & set(folder.relative_to(root).parts)
    ]


def pack(path: Path, root: Path) -> Packed:
    """Read, lint and pack the bundle whose metadata is at `path`; raises BundleFaulty."""
    try:
        described = metadata.read(_text_of(path))
        kind, mode, warnings, shared = _examine(path.parent, root, described)
        archive = archives.pack([(described.key, path.parent), *shared])
    except (metadata.MetadataFaulty, lint.LintFailed, archives.CannotPack) as error:
        raise BundleFaulty(str(error)) from error
    return Packed(
        key=described.key,
        kind=kind,
        mode=mode,
        metadata=dict(described.document),
        warnings=[*described.warnings, *warnings],
        archive=archive,
    )


def _examine(
    folder: Path, root: Path, described: metadata.Metadata
) -> tuple[str, str, list[str], list[tuple[str, Path]]]:
    """Decide kind and mode, collect warnings and the shared packages the bundle needs."""
    if not (folder / lint.PROJECT).is_file():
        if _is_echo(folder / "executor.yaml"):
            return ECHO, lint.DIRECT, [], []
        return BUNDLE, lint.DIRECT, [lint.NO_PROJECT], []
    packages = _packages_for(folder, root)
    defaults = lint.parameter_defaults(_text_of(folder / lint.PROJECT, limit=None))
    mode = lint.decide_mode(defaults, has_wrapper=packages is not None)
    filled = described.variables() | set(defaults)
    shared = []
    if mode == lint.MATCHED and packages is not None:
        shared = [(f"packages/{each.name}", each) for each in sorted(packages.iterdir()) if each.is_dir()]
        for _name, package in shared:
            filled |= set(lint.parameter_defaults(_text_of(package / lint.PROJECT, limit=None)))
    return BUNDLE, mode, lint.unfilled(_texts(folder), filled), shared


def _is_echo(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        content = yaml.safe_load(_text_of(path))
    except yaml.YAMLError as error:
        raise BundleFaulty(f"{path.name} is not YAML") from error
    if not isinstance(content, dict) or content.get("kind") != ECHO:
        raise BundleFaulty(f"{path.name}: the only kind there is is {ECHO}")
    return True


def _packages_for(folder: Path, root: Path) -> Path | None:
    """Find the nearest `packages/student_id_wrapper` between the bundle and the source's root."""
    for parent in (folder, *folder.parents):
        if (parent / "packages" / "student_id_wrapper" / lint.PROJECT).is_file():
            return parent / "packages"
        if parent == root:
            return None
    return None


def _texts(folder: Path) -> dict[str, str]:
    files = (path for path in archives.files_of(folder) if path.name.endswith(lint.TEMPLATES))
    return {path.relative_to(folder).as_posix(): _text_of(path, limit=None) for path in files}


def _text_of(path: Path, limit: int | None = _MAX_METADATA_BYTES) -> str:
    if path.is_symlink():
        raise BundleFaulty(f"{path.name} is a symbolic link")
    if not path.is_file():
        return ""
    if limit is not None and path.stat().st_size > limit:
        raise BundleFaulty(f"{path.name} is too large")
    return path.read_text(encoding="utf-8", errors="replace")


def store_version(engine: Engine, store: ObjectStore, packed: Packed) -> Report:
    """Keep a version: the archive first, then the row; content that is known makes no new one."""
    with transaction(engine) as connection:
        known = _with_content(connection, packed)
    if known is None:
        store.write(archive_key(packed.sha256), packed.archive, content_type="application/gzip")
    with transaction(engine) as connection:
        return _record(connection, packed)


def _record(connection: Connection, packed: Packed) -> Report:
    lock(connection, "bundle", packed.key)
    bundle = connection.execute(_BUNDLE, {"key": packed.key}).one()
    known = _with_content(connection, packed)
    if known is None:
        added = connection.execute(_NEW_VERSION, _values(packed) | {"bundle_id": bundle.id}).one()
        version_id, number = added.id, added.number
    else:
        version_id, number = known.id, known.number
    warnings = list(packed.warnings)
    if _would_stop_running(connection, packed, bundle.current_version_id):
        warnings.append("is not taken into use: the version in use can run")
    elif bundle.current_version_id != version_id:
        connection.execute(_MAKE_CURRENT, {"bundle_id": bundle.id, "version_id": version_id})
    return Report(
        name=packed.key, number=number, is_new=known is None, mode=packed.mode, warnings=tuple(warnings)
    )


def _would_stop_running(connection: Connection, packed: Packed, current_version_id: int | None) -> bool:
    """Tell whether metadata alone would take the place of a bundle that runs."""
    if lint.NO_PROJECT not in packed.warnings or current_version_id is None:
        return False
    return lint.NO_PROJECT not in version_of(connection, current_version_id).warnings


def _values(packed: Packed) -> dict[str, Any]:
    return {
        "sha256": packed.sha256,
        "kind": packed.kind,
        "mode": packed.mode,
        "metadata": json.dumps(packed.metadata),
        "warnings": json.dumps(packed.warnings),
    }


def _with_content(connection: Connection, packed: Packed) -> BundleVersion | None:
    values = {"key": packed.key, "sha256": packed.sha256}
    row = connection.execute(_WITH_CONTENT, values).mappings().one_or_none()
    return _version(row) if row else None


def find_enabled(connection: Connection, partner: str, key: str) -> EnabledBundle | None:
    """Find the newest version of a bundle the partner may use."""
    rows = fetch(connection, _ENABLED_ONE, {"partner": partner, "key": key})
    return _enabled(rows[0]) if rows else None


def list_enabled(connection: Connection, partner: str) -> list[EnabledBundle]:
    """List the bundles the partner may use, by key."""
    return [_enabled(row) for row in connection.execute(_ENABLED_ALL, {"partner": partner}).mappings()]


def enablements_of(connection: Connection, partner: str) -> list[Enablement]:
    """List the bundles a partner may use, imported or not."""
    return [Enablement(**row._mapping) for row in connection.execute(_ENABLEMENTS, {"partner": partner})]


def version_of(connection: Connection, version_id: int) -> BundleVersion:
    """Find the version a job is pinned to."""
    [row] = fetch(connection, _VERSION, {"id": version_id})
    return _version(row)


def _enabled(row: Any) -> EnabledBundle:
    named = lint.DIRECT if row["student_id_name"] else None
    return EnabledBundle(
        version=_version(row),
        mode=row["enabled_mode"] or named or row["mode"],
        student_id_name=row["student_id_name"],
    )


def _version(row: Any) -> BundleVersion:
    return BundleVersion(
        id=row["id"],
        key=row["key"],
        number=row["number"],
        sha256=row["sha256"],
        kind=row["kind"],
        mode=row["mode"],
        metadata=row["metadata"],
        warnings=tuple(row["warnings"]),
    )
