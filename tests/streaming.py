"""Live streams, as a client reads them."""

import http.client
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

from driving import Client, Refused

from stack.testing import LocalStack

SECONDS = 60
Event = dict[str, str]


@contextmanager
def watched(stack: LocalStack, client: Client, path: str, last_id: str = "") -> Iterator[Iterator[Event]]:
    """Follow a stream through the gateway; each of its events is a map of its fields."""
    address = urlsplit(stack.gateway_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=SECONDS)
    headers = {"Authorization": f"Bearer {client.token}"} | ({"Last-Event-ID": last_id} if last_id else {})
    connection.request("GET", path, headers=headers)
    with closing(connection), connection.getresponse() as answer:
        if answer.status != 200:
            raise Refused(answer.status, answer.read())
        yield events(answer)


def events(answer: http.client.HTTPResponse) -> Iterator[Event]:
    event: Event = {}
    while line := answer.readline():
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            event[name] = value
        elif "event" in event:
            yield event
            event = {}
