"""Live streams of runs (executor-api.md §3), served by the process jobs-watch alone."""

from jobs.api.watch import streams

BLUEPRINTS = (streams.blp,)
