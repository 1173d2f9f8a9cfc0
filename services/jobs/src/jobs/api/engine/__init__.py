"""Runs as clients watch them (executor-api.md §3)."""

from jobs.api.engine import runs

BLUEPRINTS = (runs.listing, runs.blp)
