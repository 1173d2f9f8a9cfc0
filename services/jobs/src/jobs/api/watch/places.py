"""How many streams a principal has open in this process."""

from collections import Counter
from collections.abc import Callable
from functools import partial

from common.principal import Principal


class TooManyStreams(Exception):
    """A principal has as many streams open as it may have."""

    def __init__(self, most: int) -> None:
        super().__init__(f"You have {most} streams open, which is the most allowed. Close one first.")


class Places:
    """Counts streams by principal, at most `most` each."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()

    def take(self, caller: Principal) -> Callable[[], None]:
        """Take a place and return what gives it back; raises TooManyStreams."""
        name = " ".join((caller.kind, caller.issuer, caller.client_id, caller.subject))
        if self._taken[name] >= self._most:
            raise TooManyStreams(self._most)
        self._taken[name] += 1
        return partial(self._give_back, name)

    def _give_back(self, name: str) -> None:
        self._taken[name] -= 1
        if not self._taken[name]:
            del self._taken[name]
