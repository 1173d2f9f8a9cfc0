"""The engine to clients: runs to watch and act on, events, webhooks (executor-api.md §2, §3)."""

from jobs.api.engine import acting, events, runs, webhooks

BLUEPRINTS = (runs.listing, runs.blp, acting.blp, events.blp, webhooks.blp)
