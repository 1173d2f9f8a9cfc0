"""What the executor asks of a child: a program, its arguments, its folder and its limits. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

MARK = "\x1etaxiway "  # begins a line the child writes for the executor, not for people
EARTHMOVER, LIGHTBEAM = "earthmover", "lightbeam"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a child may use."""

    timeout_seconds: float
    memory_mb: int
    file_mb: int
    open_files: int


@dataclass(frozen=True, kw_only=True)
class Order:
    """One child. `arguments` never become a command line: they hold the secrets of an ODS."""

    program: str
    arguments: Sequence[str]
    folder: str
    limits: Limits

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def decode(data: bytes) -> "Order":
        document = json.loads(data)
        return Order(**{**document, "limits": Limits(**document["limits"])})


def marked(line: str) -> Mapping[str, object] | None:
    """Read a line the child wrote for the executor."""
    if not line.startswith(MARK):
        return None
    try:
        document = json.loads(line[len(MARK) :])
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
