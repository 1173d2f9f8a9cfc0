"""Refuse parameter values that could become code. Pure.

earthmover puts values into its YAML as text, before Jinja and YAML read it, so a brace, a quotation mark or a
line break in a value could end the string it stands in. The API refuses them too (external-api.md §3, rule
13); this is the second lock. Values reach earthmover as `--params` only, never as text of ours.
"""

import re
from collections.abc import Mapping
from typing import Any

from executor.failures import RunFailed
from executor_sdk.errors import CLIENT

MAX_LENGTH = 256
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_FORBIDDEN = re.compile(r"[{}$\"'\\#\x00-\x1f\x7f-\x9f\u2028\u2029]")


def checked(params: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters as text, or raise RunFailed (`invalid_params`) naming every faulty one."""
    faulty = [str(name) for name, value in params.items() if not (_is_name(name) and is_plain(value))]
    if faulty:
        names = ", ".join(
            sorted(name for name in faulty if _NAME.fullmatch(name)) or ["a name that is not one"]
        )
        raise RunFailed(
            "invalid_params", f"These parameters have values that are not allowed: {names}.", CLIENT
        )
    return {name: _text(value) for name, value in params.items() if value is not None}


def _is_name(name: object) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def is_plain(value: object) -> bool:
    """Say whether a value is one short line without characters that YAML, Jinja or `${}` could act on."""
    if value is None or isinstance(value, bool | int | float):
        return True
    return isinstance(value, str) and len(value) <= MAX_LENGTH and _FORBIDDEN.search(value) is None


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
