"""The engine to clients: runs as they watch them, events, webhooks (executor-api.md §2, §3)."""

from jobs.api.engine import events, runs, webhooks

BLUEPRINTS = (runs.listing, runs.blp, events.blp, webhooks.blp)
