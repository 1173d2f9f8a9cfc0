"""HTTP: what clients, executors and our own services may ask."""
