"""Secrets do not reach the log: what looks like one is taken out before anything is stored."""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

MARK = "[redacted]"
SHORTEST_SECRET = 6  # a shorter one would take ordinary words out of every line
SECRET_NAMES = frozenset({"client_secret", "secret", "password", "token", "api_key", "access_key"})

_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
# Begins where no such letter stands before it: from every `eyJ` on, it would take quadratic time.
_JWT = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{11,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*")
_API_KEY = re.compile(r"\brl_[A-Za-z0-9]{8}_[A-Za-z0-9_-]{16,}")
_QUERY = re.compile(r"""\?([^\s"'<>?]+)""")
_SIGNED = re.compile(
    r"(?i)(?:^|&|%26)(?:x-amz-[a-z0-9-]+|signature|awsaccesskeyid|sig|access_token|token)(?:=|%3d)"
)


def redact(value: Any, secrets: Iterable[str] = ()) -> Any:
    """Take secrets out of a text, or out of every text within a JSON value; `secrets` are the run's own."""
    own = _own(secrets)
    return _walk(value, lambda text: _text(text, own))


def hide(value: Any, secrets: Iterable[str]) -> Any:
    """Take a run's own secrets out of a JSON value, and leave all else as its next attempt needs it."""
    own = _own(secrets)
    return value if own is None else _walk(value, lambda text: own.sub(MARK, text))


def _own(secrets: Iterable[str]) -> re.Pattern[str] | None:
    spellings = {form for secret in secrets if len(secret) >= SHORTEST_SECRET for form in _spellings(secret)}
    if not spellings:
        return None
    return re.compile("|".join(map(re.escape, sorted(spellings, key=len, reverse=True))))


def _spellings(secret: str) -> tuple[str, ...]:
    return secret, quote(secret, safe=""), json.dumps(secret)[1:-1]


def _walk(value: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(key): _walk(inner, clean) for key, inner in value.items()}
    if isinstance(value, list):
        return [_walk(inner, clean) for inner in value]
    return value


def _text(text: str, own: re.Pattern[str] | None) -> str:
    if own is not None:
        text = own.sub(MARK, text)
    text = _BEARER.sub(lambda match: f"{match[1]} {MARK}", text)
    text = _API_KEY.sub(MARK, _JWT.sub(_token, text))
    return _QUERY.sub(_query, text)


def _token(match: re.Match[str]) -> str:
    return MARK if "eyJ" in match[0].partition(".")[0] else match[0]


def _query(match: re.Match[str]) -> str:
    return f"?{MARK}" if _SIGNED.search(match[1]) else match[0]


def secrets_in(document: Any) -> frozenset[str]:
    """Collect the secrets of a work order: the texts that stand under a name for one."""
    if isinstance(document, dict):
        own = {v for k, v in document.items() if k in SECRET_NAMES and isinstance(v, str)}
        return frozenset(own).union(*map(secrets_in, document.values()))
    if isinstance(document, list):
        return frozenset[str]().union(*map(secrets_in, document))
    return frozenset()
