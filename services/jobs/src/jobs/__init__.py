"""Jobs, the runs they become, and the engine that gives each run its turn."""
