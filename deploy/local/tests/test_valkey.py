from collections.abc import Callable
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from stack.testing import Servers

Act = Callable[[Any], Any]


@pytest.fixture
def connect(servers: Servers) -> Callable[[str], Any]:
    return lambda user: redis.Redis.from_url(servers.redis_url(user), socket_timeout=5)


def test_an_executor_takes_turns_and_says_that_it_lives(connect: Callable[[str], Any]) -> None:
    with connect("jobs") as jobs, connect("executor") as executor:
        jobs.rpush("jobs:line:default", "turn")
        assert executor.blpop(["jobs:line:default"], timeout=1) == (b"jobs:line:default", b"turn")
        executor.set("jobs:executor:default:one", "1", ex=30)
        assert jobs.ttl("jobs:executor:default:one") > 0


@pytest.mark.parametrize(
    ("user", "act"),
    [
        ("executor", lambda client: client.get("jobs:executor:default:one")),
        ("executor", lambda client: client.set("jobs:executor:default:one", "1", get=True)),
        ("executor", lambda client: client.lpush("jobs:line:default", "forged")),
        ("executor", lambda client: client.set("jobs:line:default", "forged")),
        ("executor", lambda client: client.blpop(["gateway:line:x"], timeout=1)),
        ("executor", lambda client: client.publish("jobs:nudge", "line")),
        ("executor", lambda client: client.keys("*")),
        ("executor", lambda client: client.flushall()),
        ("jobs", lambda client: client.get("gateway:quota:x")),
        ("jobs", lambda client: client.publish("gateway:x", "x")),
        ("jobs", lambda client: client.config_get("*")),
        ("gateway", lambda client: client.get("jobs:line:default")),
        ("gateway", lambda client: client.flushdb()),
    ],
)
def test_a_user_is_refused_what_is_not_its_own(connect: Callable[[str], Any], user: str, act: Act) -> None:
    with connect(user) as client, pytest.raises(redis.exceptions.NoPermissionError):
        act(client)


def test_nobody_enters_without_a_password(servers: Servers) -> None:
    client = redis.Redis(port=servers.ports.redis, retry=Retry(NoBackoff(), 0))
    with client, pytest.raises(redis.AuthenticationError):
        client.get("jobs:line:default")


def test_a_killed_server_starts_again_with_its_data(servers: Servers, connect: Callable[[str], Any]) -> None:
    with connect("jobs") as client:
        client.set("jobs:kept", "1")
        client.execute_command("PING")
    servers.valkey.kill()
    servers.valkey.restart()
    with connect("jobs") as client:
        assert client.get("jobs:kept") == b"1"


def test_flushing_forgets_every_key(servers: Servers, connect: Callable[[str], Any]) -> None:
    with connect("jobs") as client:
        client.set("jobs:forgotten", "1")
        servers.flush_redis()
        assert client.get("jobs:forgotten") is None
