"""The executor API: what the programs doing the work call with a run token (executor-api.md)."""

from jobs.api.sdk import family, journal, lifecycle, memory, outputs, signals, usage

BLUEPRINTS = (
    lifecycle.blp,
    journal.blp,
    memory.blp,
    usage.blp,
    outputs.blp,
    signals.blp,
    family.blp,
)
