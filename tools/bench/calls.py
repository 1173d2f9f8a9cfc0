"""HTTP calls for many coroutines at once: one kept connection each, answers with a Content-Length."""

import asyncio
import json
import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from bench import load

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Caller:
    """One kept connection to a server on loopback."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    async def post(self, target: str, token: str, body: Mapping[str, Any]) -> Any:
        """Send a call and return its JSON. Raises load.Refused on any error."""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._writer.write(load.request("POST", target, headers, json.dumps(body).encode()))
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        content = await self._reader.readexactly(int(length[1]) if length else 0)
        if not head.startswith(b"HTTP/1.1 2"):
            raise load.Refused(f"POST {target}: {head[:40]!r} {content[:300]!r}")
        return json.loads(content or b"null")
