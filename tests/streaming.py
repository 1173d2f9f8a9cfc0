"""Live streams, as a client reads them."""

import http.client
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

from driving import LOGIN_SECONDS, TROUBLE, Client, Refused

from stack.testing import LocalStack

SECONDS = 60
Event = dict[str, str]


@contextmanager
def watched(stack: LocalStack, client: Client, path: str, last_id: str = "") -> Iterator[Iterator[Event]]:
    """Follow a stream through the gateway; each of its events is a map of its fields.

    Like every client it comes back when a part is not answering right now.
    """
    address = urlsplit(stack.gateway_url)
    headers = {"Authorization": f"Bearer {client.token}"} | ({"Last-Event-ID": last_id} if last_id else {})
    deadline = time.monotonic() + LOGIN_SECONDS
    while True:
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=SECONDS)
        connection.request("GET", path, headers=headers)
        with closing(connection), connection.getresponse() as answer:
            if answer.status == 200:
                yield events(answer)
                return
            if answer.status not in TROUBLE or time.monotonic() > deadline:
                raise Refused(answer.status, answer.read())
        time.sleep(0.2)


def events(answer: http.client.HTTPResponse) -> Iterator[Event]:
    event: Event = {}
    while line := answer.readline():
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            event[name] = value
        elif "event" in event:
            yield event
            event = {}
