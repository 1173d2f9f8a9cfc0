"""The engine to clients: runs as they watch them and act on them, events, webhooks (executor-api.md §2, §3)."""

from jobs.api.engine import acting, events, runs, webhooks

BLUEPRINTS = (runs.listing, runs.blp, acting.blp, events.blp, webhooks.blp)
