"""Turns are read leniently, and the line is waited for however long Redis is away."""

import threading
from typing import Any

import pytest
import redis

from executor_sdk.line import BadTurn, Line, Turn, parse, serve

TURN = '{"v":1,"run":"r","lease":7,"ticket":"t","traceparent":"00-a-b-01"}'


class FakeRedis:
    """Answers what the test says, in order; raises what is an error."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.present: list[tuple[str, int]] = []
        self.gone: list[tuple[str, int]] = []

    def set(self, name: str, value: str, ex: int = 0, px: int = 0) -> None:
        (self.present if ex else self.gone).append((name, ex or px))

    def blpop(self, names: list[str], timeout: int) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return (names[0], answer) if answer is not None else None


def served(fake: Any) -> list[Turn]:
    """Serve until a turn of the run `last` comes."""
    taken: list[Turn] = []
    stopping = threading.Event()

    def take(turn: Turn) -> None:
        taken.append(turn)
        if turn.run == "last":
            stopping.set()

    serve(Line(fake, pool="p", name="n"), take, stopping)
    return taken


def test_a_turn_is_read() -> None:
    assert parse(TURN.encode()) == Turn(run="r", lease=7, ticket="t", traceparent="00-a-b-01")


@pytest.mark.parametrize(
    "message",
    [
        "",
        "nonsense",
        "[]",
        "7",
        "{}",
        '{"v":2,"run":"r","lease":1,"ticket":"t"}',
        '{"v":1,"run":"../r","lease":1,"ticket":"t"}',
    ],
)
def test_what_is_no_turn_is_refused(message: str) -> None:
    with pytest.raises(BadTurn):
        parse(message)


def test_bad_turns_and_lost_connections_do_not_stop_the_line() -> None:
    last = TURN.replace('"r"', '"last"')
    fake = FakeRedis(
        redis.ConnectionError(), b"nonsense", None, TURN.encode(), redis.TimeoutError(), last.encode()
    )
    assert [turn.run for turn in served(fake)] == ["r", "last"]
    assert len(fake.present) == 6
    assert set(fake.present) == {("jobs:executor:p:n", 30)}
    assert fake.gone == [("jobs:executor:p:n", 1)]
