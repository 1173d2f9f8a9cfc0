"""What a series of measurements says: medians, spreads, and the ratio of two contenders. Pure."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Measured = Mapping[str, float]
"""What one contender did in one stretch: quantity → number."""
Round = Mapping[str, Measured]
"""One stretch of every contender, by name."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The median of a series, and its ends."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a figure must reach."""

    number: float
    at_most: bool = False

    def is_met(self, figure: float) -> bool:
        return figure <= self.number if self.at_most else figure >= self.number

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.number:g}"


@dataclass(frozen=True, kw_only=True)
class Result:
    """One line of the page: a figure of ours against a peer's, or against a limit."""

    row: str
    work: str
    peer: str
    unit: str
    ours: Spread
    theirs: Spread
    ratio: Spread
    target: Target | None
    pairs: int
    cpu_us: tuple[float, float] | None = None
    """CPU time of each server's whole process tree per request, ours and the peer's."""
    note: str = ""

    @property
    def is_met(self) -> bool:
        """Tell whether the target is reached, if there is one."""
        return self.target is None or self.target.is_met(self.ratio.median)


def in_turn(contenders: Mapping[str, Callable[[], Measured]], pairs: int) -> list[Round]:
    """Measure every contender once a round; each round goes the other way round than the last."""
    rounds: list[Round] = []
    for number in range(pairs):
        names = list(contenders)[:: -1 if number % 2 else 1]
        measured = {name: contenders[name]() for name in names}
        rounds.append(measured)
    return rounds


def spread(series: Sequence[float]) -> Spread:
    """Sum a series up. Raises ValueError when it is empty."""
    if not series:
        raise ValueError("nothing was measured")
    return Spread(median=median(series), low=min(series), high=max(series))


def series_of(rounds: Sequence[Round], contender: str, quantity: str) -> list[float]:
    """Pick one quantity of one contender, in the order of the rounds."""
    return [each[contender][quantity] for each in rounds]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Compare pair by pair: what disturbed both of a pair leaves their ratio alone."""
    return spread([mine / other for mine, other in zip(ours, theirs, strict=True)])


def percentile(series: Sequence[float], part: float) -> float:
    """Give the value that `part` (0 to 1) of a series does not exceed. Raises ValueError when it is empty."""
    if not series:
        raise ValueError("nothing was measured")
    return sorted(series)[max(0, math.ceil(part * len(series)) - 1)]


def compared(
    row: str,
    work: str,
    rounds: Sequence[Round],
    *,
    ours: str,
    theirs: str,
    peer: str,
    target: Target | None,
    quantity: str = "per_second",
    unit: str = "requests/s",
    note: str = "",
) -> Result:
    """Make a line of two contenders of the same rounds."""
    mine, other = series_of(rounds, ours, quantity), series_of(rounds, theirs, quantity)
    has_cpu = all("cpu_us" in each[name] for each in rounds for name in (ours, theirs))
    cpu = [spread(series_of(rounds, name, "cpu_us")).median for name in (ours, theirs)] if has_cpu else []
    return Result(
        row=row,
        work=work,
        peer=peer,
        unit=unit,
        ours=spread(mine),
        theirs=spread(other),
        ratio=ratio(mine, other),
        target=target,
        pairs=len(rounds),
        cpu_us=(cpu[0], cpu[1]) if cpu else None,
        note=note,
    )


def limited(
    row: str, work: str, series: Sequence[float], *, limit: float, unit: str, note: str = ""
) -> Result:
    """Make a line of figures that must stay below a limit: the ratio is the part of it that was used."""
    allowed = [limit] * len(series)
    return Result(
        row=row,
        work=work,
        peer=f"the limit, {limit:g} {unit}",
        unit=unit,
        ours=spread(series),
        theirs=spread(allowed),
        ratio=ratio(series, allowed),
        target=Target(number=1, at_most=True),
        pairs=len(series),
        note=note,
    )
