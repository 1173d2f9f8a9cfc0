"""The gateway's door for gunicorn: `gunicorn -c python:common.serving "gateway.wsgi:build()"`."""

import os

from flask import Flask

from common import logs
from common.clock import SystemClock
from common.settings import load
from gateway.app import build_services, create_app
from gateway.config import Settings


def build() -> Flask:
    """Build the gateway from this process's environment."""
    settings = load(Settings, os.environ)
    logs.configure("gateway", settings.log_level)
    services = build_services(settings, SystemClock())
    services.usage.start()
    return create_app(services)
