"""The web door: `gunicorn -c python:common.serving "jobs.wsgi:build()"`."""

import os

from flask import Flask

from common import logs, settings
from jobs.app import assemble, create_app
from jobs.config import JobsSettings


def build() -> Flask:
    """Build the application of one worker from its environment; raises SettingsError."""
    loaded = settings.load(JobsSettings, os.environ)
    logs.configure("jobs", loaded.log_level)
    return create_app(assemble(loaded))
