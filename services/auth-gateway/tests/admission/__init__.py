"""The door: targets, routes, tokens, keys, verdicts."""
