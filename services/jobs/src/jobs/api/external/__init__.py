"""The External API (external-api.md)."""

from jobs.api.external import bundles, jobs, listing, partners, starting

BLUEPRINTS = (jobs.blp, starting.blp, listing.blp, bundles.blp, partners.blp)
