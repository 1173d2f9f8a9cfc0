"""The catalog over HTTP for Editors and Administrators; a Viewer may read (identity.md §2)."""

from jobs.api.admin import (
    audit,
    bundles,
    clusters,
    mappings,
    ods,
    partners,
    provision,
    rosters,
    tenants,
    years,
)

BLUEPRINTS = (
    partners.blp,
    tenants.blp,
    years.blp,
    bundles.blp,
    ods.blp,
    rosters.blp,
    mappings.blp,
    provision.blp,
    audit.blp,
    clusters.blp,
)
