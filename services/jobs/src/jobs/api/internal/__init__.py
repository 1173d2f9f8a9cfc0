"""Calls between our own services; no gateway route leads here."""

from jobs.api.internal import keys

BLUEPRINTS = (keys.blp,)
