"""Keep lightbeam from sending the ODS's secret anywhere but where it was told to.

lightbeam asks again over http when https fails, secret included, and waits for ever: here a URL must keep the
scheme of the one it was configured with, redirects are not followed, and every call has a timeout.
"""

from typing import Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = (5, 60)


class SchemeChanged(Exception):
    """lightbeam tried to fall back to another scheme."""


class StrictRequests:
    """The two functions of `requests` that lightbeam calls."""

    def __init__(self, requests: Any) -> None:
        self._requests = requests
        self._schemes: dict[str, str] = {}

    def get(self, url: str, **options: Any) -> Any:
        return self._call("get", url, options)

    def post(self, url: str, **options: Any) -> Any:
        return self._call("post", url, options)

    def _call(self, method: str, url: str, options: dict[str, Any]) -> Any:
        address = urlsplit(url)
        if self._schemes.setdefault(address.netloc, address.scheme) != address.scheme:
            raise SchemeChanged(address.scheme)
        call = getattr(self._requests, method)
        return call(url, **{"timeout": TIMEOUT_SECONDS, "allow_redirects": False, **options})


def install() -> None:
    """Give lightbeam's API client the strict functions."""
    import requests
    from lightbeam import api

    api.requests = StrictRequests(requests)
