"""The gateway under gunicorn, with a service behind it."""
