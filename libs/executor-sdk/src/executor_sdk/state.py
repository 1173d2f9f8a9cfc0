"""What a run remembers over its attempts: a mapping of up to 1000 keys whose every access asks the server."""

from collections.abc import Iterator, MutableMapping
from typing import Any

from executor_sdk.api import RunApi
from executor_sdk.errors import Refused

_NOT_FOUND = 404


class State(MutableMapping[str, Any]):
    """The run's state: JSON values of up to 64 KiB by keys of up to 256 bytes."""

    def __init__(self, api: RunApi) -> None:
        self._api = api

    def __getitem__(self, key: str) -> Any:
        try:
            return self._api.get(f"state/{key}")["value"]
        except Refused as error:
            if error.status == _NOT_FOUND:
                raise KeyError(key) from None
            raise

    def __setitem__(self, key: str, value: Any) -> None:
        self._api.post("state", {"key": key, "value": value})

    def __delitem__(self, key: str) -> None:
        self._api.delete(f"state/{key}")

    def __iter__(self) -> Iterator[str]:
        return iter([each["key"] for each in self._api.get("state")])

    def __len__(self) -> int:
        return len(self._api.get("state"))
