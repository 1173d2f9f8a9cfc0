"""A rogue executor: what its user of Redis may do, and what becomes of the turns it eats."""

import threading
from contextlib import closing

import pytest
import redis
from driving import Client

from stack.testing import LocalStack

LINE = "jobs:line:default"
FORBIDDEN = (
    ("RPUSH", LINE, "{}"),
    ("LPUSH", LINE, "{}"),
    ("LRANGE", LINE, "0", "-1"),
    ("DEL", LINE),
    ("GET", "jobs:executor:default:local-1"),
    ("SET", "jobs:executor:default:x", "1", "GET"),
    ("SET", LINE, "x"),
    ("SET", "gateway:quota:x", "1"),
    ("BLPOP", "gateway:quota:x", "1"),
    ("KEYS", "*"),
    ("SCAN", "0"),
    ("EVAL", "return 1", "0"),
    ("PUBLISH", "jobs:nudge", "line"),
    ("SUBSCRIBE", "jobs:nudge"),
    ("MONITOR",),
    ("CONFIG", "GET", "*"),
    ("ACL", "LIST"),
    ("CLIENT", "LIST"),
    ("FLUSHALL",),
    ("SHUTDOWN",),
)


@pytest.mark.parametrize("command", FORBIDDEN, ids=" ".join)
def test_an_executors_user_pops_its_line_and_says_that_it_lives_and_no_more(
    system: LocalStack, command: tuple[str, ...]
) -> None:
    with closing(redis.Redis.from_url(system.redis_url("executor"))) as rogue:
        assert rogue.set("jobs:executor:default:rogue", "1", ex=1)
        with pytest.raises(redis.exceptions.NoPermissionError):
            rogue.execute_command(*command)  # type: ignore[no-untyped-call]


def test_turns_that_a_rogue_executor_eats_come_back(system: LocalStack, ea: Client) -> None:
    eaten, stop = [], threading.Event()

    def eat() -> None:
        with closing(redis.Redis.from_url(system.redis_url("executor"))) as rogue:
            while not stop.is_set():
                if turn := rogue.blpop([LINE], timeout=1):
                    eaten.append(turn)
                    stop.set()

    with system.stopped("executor"):
        eater = threading.Thread(target=eat)
        eater.start()
        uid = ea.submit("tests/echo", b"one\n")
        eater.join(60)
        stop.set()
    assert len(eaten) == 1
    ea.wait_completed(uid)
