"""Request targets: what a path may look like before any route is asked. Pure.

A request is routed here by its raw target and served elsewhere by what a framework made of it. Whatever two
parsers could read differently is refused, and what is forwarded is exactly what was matched.
"""

import re
from dataclasses import dataclass

# Most targets: nothing to undo, nothing to refuse.
_PLAIN = re.compile(r"(?:/(?!\.)[A-Za-z0-9\-._~]+)+/?")
_PATH = re.compile(r"(?:/(?:[A-Za-z0-9\-._~!$&'()*+,=:@]|%[0-9A-Fa-f]{2})*)+")
_QUERY = re.compile(r"(?:[!-$&-~]|%[0-9A-Fa-f]{2})*")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_NOT_IN_QUERY = re.compile(r"[\"#<>\[\\\]^`{|}]")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_~")
# Dots make segments, slashes and backslashes cut them, a percent sign escapes twice.
_REFUSED_ESCAPES = frozenset({0x25, 0x2E, 0x2F, 0x5C, 0x7F, *range(0x20)})


class UnsafeTarget(Exception):
    """The request target can be read in more than one way; the message says what is wrong with it."""


@dataclass(slots=True, kw_only=True)
class Target:
    """A request target in its one normal form. `path` keeps a trailing slash, `full` has the query."""

    path: str
    full: str


def parse(raw: str) -> Target:
    """Read a raw request target, or raise UnsafeTarget.

    Escapes of unreserved characters are undone and others written in upper case (RFC 3986 §6.2.2), so that
    equal paths are equal texts and the HTTP client below has nothing left to change under our signature.
    """
    if _PLAIN.fullmatch(raw):
        return Target(path=raw, full=raw)
    raw_path, mark, raw_query = raw.partition("?")
    if not _PATH.fullmatch(raw_path):
        raise UnsafeTarget("The path has characters or escapes that do not belong there")
    path = _ESCAPE.sub(_unescape_path, raw_path)
    if "//" in path or any(segment in (".", "..") for segment in path.split("/")):
        raise UnsafeTarget("The path has empty or dotted segments")
    return Target(path=path, full=path + mark + _query(raw_query))


def _unescape_path(escape: "re.Match[str]") -> str:
    number = int(escape[1], 16)
    if number in _REFUSED_ESCAPES:
        raise UnsafeTarget("The path hides a separator, a dot, a control character or another escape")
    return chr(number) if chr(number) in _UNRESERVED else escape[0].upper()


def _query(raw: str) -> str:
    if not _QUERY.fullmatch(raw):
        raise UnsafeTarget("The query has characters or escapes that do not belong there")
    return _NOT_IN_QUERY.sub(_escape, _ESCAPE.sub(_upper, raw))


def _upper(escape: "re.Match[str]") -> str:
    return escape[0].upper()


def _escape(character: "re.Match[str]") -> str:
    return f"%{ord(character[0]):02X}"
