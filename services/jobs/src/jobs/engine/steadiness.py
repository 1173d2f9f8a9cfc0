"""Whether we ourselves were awake long enough to judge that somebody else is silent."""


class Steadiness:
    """Remembers since when ticks came without a gap.

    After an outage of the database, or of this process, every executor looks silent: nobody is taken for lost
    until we have ticked for as long as an executor may be silent.
    """

    def __init__(self, *, needed_seconds: float, largest_gap_seconds: float) -> None:
        self._needed_seconds = needed_seconds
        self._largest_gap_seconds = largest_gap_seconds
        self._since: float | None = None
        self._last = 0.0

    def tick(self, now: float) -> None:
        """Note a tick that reached the database; `now` is monotonic, in seconds."""
        if self._since is None or now - self._last > self._largest_gap_seconds:
            self._since = now
        self._last = now

    def is_steady(self, now: float) -> bool:
        """Tell whether ticks came without a gap for as long as needed, up to now."""
        if self._since is None or now - self._last > self._largest_gap_seconds:
            return False
        return now - self._since >= self._needed_seconds
