"""The payload of a run, read once and checked. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from executor.failures import RunFailed
from executor_sdk.errors import CLIENT

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
DIRECT, MATCHED = "direct", "matched"
REQUIRED_MATCH_RATE = 0.5  # external-api.md §6, unless the work order says otherwise
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Input:
    """A file the client uploaded. `file_name` is the client's, good for its extension only."""

    key: str
    file_name: str


@dataclass(frozen=True, kw_only=True)
class Archive:
    """The bundle's version to run."""

    key: str
    sha256: str
    url: str
    mode: str


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """A descriptor mapping of the partner that takes the place of one of the bundle's own."""

    file_name: str
    url: str
    sha256: str | None


@dataclass(frozen=True, kw_only=True)
class Link:
    """A stored file and its digest."""

    url: str
    sha256: str | None


@dataclass(frozen=True, kw_only=True)
class Ods:
    """The Ed-Fi data store to send to."""

    url: str
    api_year: str
    token_url: str
    client_id: str
    client_secret: str


@dataclass(frozen=True, kw_only=True)
class WorkOrder:
    """What to run on what."""

    archive: Archive
    inputs: tuple[Input, ...]
    params: Mapping[str, Any]
    mappings: tuple[Mapped, ...]
    roster: Link | None
    required_match_rate: float
    ods: Ods | None
    timeout_seconds: float | None
    memory_mb: int | None


def read(payload: Mapping[str, Any]) -> WorkOrder:
    """Read a payload (executor-api.md §1), or raise RunFailed (`unsupported_payload`)."""
    try:
        return _read(payload)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        sentence = "This executor does not understand the work order. It may be older than the server."
        raise RunFailed("unsupported_payload", sentence, CLIENT) from error


def _read(payload: Mapping[str, Any]) -> WorkOrder:
    if payload.get("kind", "bundle") != "bundle":
        raise ValueError("kind")
    bundle, limits = payload["bundle"], payload.get("limits") or {}
    if not _SHA256.fullmatch(bundle["sha256"]):
        raise ValueError("sha256")
    return WorkOrder(
        archive=Archive(
            key=bundle["key"], sha256=bundle["sha256"], url=bundle["url"], mode=bundle.get("mode") or DIRECT
        ),
        inputs=tuple(_input(key, value) for key, value in sorted(payload["inputs"].items())),
        params=payload.get("params") or {},
        mappings=tuple(_mappings(payload.get("descriptor_mappings"))),
        roster=_link(payload.get("roster")),
        required_match_rate=_rate(payload.get("required_id_match_rate")),
        ods=_ods(payload.get("ods")),
        timeout_seconds=_number(limits.get("timeout_secs")),
        memory_mb=int(limits["memory_mb"]) if limits.get("memory_mb") else None,
    )


def _input(key: str, value: Mapping[str, Any]) -> Input:
    if not _KEY.fullmatch(key):
        raise ValueError("input key")
    return Input(key=key, file_name=value.get("file_name") or "")


def _mappings(value: Any) -> list[Mapped]:
    """Read `{file name: {url, sha256}}`, or a list of the same with `file_name`."""
    if not value:
        return []
    pairs = value.items() if isinstance(value, Mapping) else [(each["file_name"], each) for each in value]
    return [
        Mapped(file_name=name, url=each["url"], sha256=each.get("sha256")) for name, each in sorted(pairs)
    ]


def _link(value: Mapping[str, Any] | None) -> Link | None:
    return None if value is None else Link(url=value["url"], sha256=value.get("sha256"))


def _rate(value: Any) -> float:
    rate = REQUIRED_MATCH_RATE if value is None else float(value)
    if not 0 <= rate <= 1:
        raise ValueError("required_id_match_rate")
    return rate


def _ods(value: Mapping[str, Any] | None) -> Ods | None:
    if value is None:
        return None
    return Ods(
        url=value["url"],
        api_year=str(value.get("api_year") or ""),
        token_url=value.get("token_url") or "",
        client_id=value["client_id"],
        client_secret=value["client_secret"],
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
