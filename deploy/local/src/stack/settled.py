"""What the last `up` settled, so that later commands need not be told the same ports again."""

import json
from dataclasses import asdict, dataclass

from stack.layout import Layout
from stack.ports import Ports
from stack.secrets import write_private

FILE = "settled.json"


@dataclass(frozen=True, kw_only=True)
class Settled:
    """The ports and the number of executors a stack was started with."""

    ports: Ports
    executors: int


def remember(layout: Layout, settled: Settled) -> None:
    """Write down what this `up` starts."""
    write_private(layout.root / FILE, json.dumps(asdict(settled), indent=1))


def recall(layout: Layout) -> Settled:
    """Read what the last `up` started; the defaults when there was none or its note is of another form."""
    try:
        noted = json.loads((layout.root / FILE).read_text(encoding="utf-8"))
        return Settled(ports=Ports(**noted["ports"]), executors=noted["executors"])
    except (OSError, ValueError, KeyError, TypeError):
        return Settled(ports=Ports(), executors=1)
