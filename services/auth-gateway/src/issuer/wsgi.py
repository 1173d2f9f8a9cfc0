"""The issuer's door for gunicorn: `gunicorn -c python:common.serving "issuer.wsgi:build()"`."""

import os

from flask import Flask

from common import logs
from common.clock import SystemClock
from common.settings import load
from issuer.app import build_services, create_app
from issuer.config import Settings


def build() -> Flask:
    """Build the issuer from this process's environment."""
    settings = load(Settings, os.environ)
    logs.configure("issuer", settings.log_level)
    return create_app(build_services(settings, SystemClock()))
