"""What a run of the bench was asked for."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """How often and how long each contender is measured, and where the public bundles lie."""

    pairs: int = 5
    seconds: float = 5
    source: Path | None = None
    minutes: float = 10
    """How long a soak lasts."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a row has to say: versions it met, and what it left out and why."""

    versions: dict[str, str]
    skipped: list[str]
