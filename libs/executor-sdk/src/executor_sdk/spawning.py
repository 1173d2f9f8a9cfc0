"""Child runs, each spawned once however often the handler runs again.

The n-th spawn of a run is kept in its state as `sdk.spawn.<n>`: `{"asked": true}` before the server is asked
for a child that is waited for, `{"child": …}` when there is something to return. A run that was resumed by
the end of a child finds it in the `event` of its claim.
"""

from collections.abc import Mapping
from typing import Any

from executor_sdk.api import RunApi
from executor_sdk.errors import Suspended
from executor_sdk.state import State

_PLACE = "sdk.spawn.{}"
_ASKED = {"asked": True}


class Spawning:
    """The spawns of one attempt, in the order the handler makes them."""

    def __init__(self, api: RunApi, state: State, event: Any) -> None:
        self._api = api
        self._state = state
        self._ended = event.get("child") if isinstance(event, Mapping) else None
        self._number = 0

    def spawn(self, body: Mapping[str, Any]) -> Any:
        """Make the next child, or find the one an earlier attempt made. Raises Suspended to wait for it."""
        self._number += 1
        place = _PLACE.format(self._number)
        kept = self._state.get(place) or {}
        if "child" in kept:
            return self._known(kept["child"])
        if kept == _ASKED and self._ended:
            return self._keep(place, self._ended)
        if not body["await_completion"]:
            return self._keep(place, self._api.post("spawn", body))
        self._state[place] = _ASKED
        self._api.post("spawn", body)
        raise Suspended("the end of a child run")

    def _known(self, child: Any) -> Any:
        if self._ended and self._ended.get("id") == child.get("id"):
            self._ended = None  # its end was returned before: it is not that of the next child
        return child

    def _keep(self, place: str, child: Any) -> Any:
        self._state[place] = {"child": child}
        self._ended = None
        return child
