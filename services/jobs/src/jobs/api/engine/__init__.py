"""The engine to clients: runs as they watch them, webhooks (executor-api.md §3)."""

from jobs.api.engine import runs, webhooks

BLUEPRINTS = (runs.listing, runs.blp, webhooks.blp)
