"""What a token opens: partners, their tenants and years, and the bundles they may use."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What the gateway reads in a token."""

    valid: bool
    message: str
    client_id: str | None
    client_name: str | None
    issuer: str
    partners: tuple[str, ...]
    scopes: tuple[str, ...]
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class BundleFile:
    """A file a bundle asks for."""

    key: str
    display_name: str
    required: bool
    file_types: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BundleParam:
    """A param a bundle asks for; without `allowed_values` any plain value will do."""

    key: str
    display_name: str
    required: bool
    allowed_values: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle a partner may use."""

    bundle: str
    display_name: str
    version: int
    files: tuple[BundleFile, ...]
    params: tuple[BundleParam, ...]
    report_resources: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """A part of a partner, for example a district."""

    code: str
    name: str


@dataclass(frozen=True, kw_only=True)
class SchoolYear:
    """A school year of a partner. `ods_tenants`: the tenants whose records have an ODS to go to."""

    school_year: str
    enabled: bool
    sends_to_ods: bool
    ods_tenants: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Partner:
    """A partner with its tenants and school years."""

    code: str
    name: str
    tenants: tuple[Tenant, ...]
    school_years: tuple[SchoolYear, ...]
