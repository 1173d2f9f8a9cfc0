"""The web door: `gunicorn -c python:common.serving "outputs.wsgi:build()"`."""

import os

from flask import Flask

from common import logs, settings
from outputs.app import assemble, create_app
from outputs.config import OutputsSettings


def build() -> Flask:
    """Build the application of one worker from its environment; raises SettingsError."""
    loaded = settings.load(OutputsSettings, os.environ)
    logs.configure("outputs", loaded.log_level)
    return create_app(assemble(loaded))
