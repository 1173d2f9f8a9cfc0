"""The three faces of the service: clients, executors, and our own services."""
