"""The executor: takes a turn, runs the bundle, reports through the executor API."""
