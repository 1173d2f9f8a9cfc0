"""The rows of the catalog as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Place:
    """What the catalog says of a partner's tenant in a school year."""

    has_tenant: bool
    knows_year: bool
    is_year_enabled: bool
    sends_to_ods: bool
    needs_roster: bool
    match_rate: float
    ods_id: int | None
    roster_id: int | None


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """A part of a partner that has data of its own."""

    code: str
    name: str


@dataclass(frozen=True, kw_only=True)
class PartnerYear:
    """What a partner does in a school year; `ods_tenants` have a live ODS in it."""

    school_year: str
    enabled: bool
    sends_to_ods: bool
    needs_roster: bool
    match_rate: float
    ods_tenants: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Partner:
    """A partner with its tenants and years."""

    code: str
    name: str
    tenants: tuple[Tenant, ...]
    years: tuple[PartnerYear, ...]


@dataclass(frozen=True, kw_only=True)
class Ods:
    """A connection to an Ed-Fi data store; `client_secret` is sealed, or open where it was just unsealed."""

    id: int
    partner: str
    tenant: str
    end_year: str
    url: str
    token_url: str
    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class BundleVersion:
    """An imported state of a bundle; never changes."""

    id: int
    key: str
    number: int
    sha256: str
    kind: str
    mode: str
    metadata: Mapping[str, Any]
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class EnabledBundle:
    """The newest version of a bundle a partner may use, and how it runs for this partner."""

    version: BundleVersion
    mode: str
    student_id_name: str | None


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file of ours in object storage: a roster, a descriptor mapping."""

    name: str
    object_key: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Roster:
    """The students of a tenant in a school year, as an object in storage."""

    partner: str
    tenant: str
    school_year: str
    object_key: str
    sha256: str
    size_bytes: int
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Enablement:
    """That a partner may use a bundle, imported or not, and how it runs there if not as imported."""

    bundle: str
    mode: str | None
    student_id_name: str | None
