"""The run engine: the line, turns, leases and what a run leaves behind. It knows nothing of education."""
