"""The ports of the stack: where they come from, whether they are free.

All stay below 32768: above lies the range of client sockets, where a server sometimes finds its port taken.
"""

import random
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from stack.errors import PortTaken, StackError

TEST_RANGE = (20_000, 32_000)
SEAWEED_INTERNAL_PORTS = 9
_handed_out: set[int] = set()  # one process must not hand out a port twice before anyone has bound it


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Where everything listens; `s3_internal` is the first of nine that SeaweedFS's inner parts take."""

    gateway: int = 3333
    issuer: int = 8080
    s3: int = 9090
    s3_internal: int = 9091
    postgres: int = 15432
    redis: int = 16379
    jobs: int = 3401
    outputs: int = 3402
    watch: int = 3403
    watch_metrics: int = 3500
    gateway_metrics: int = 3501
    issuer_metrics: int = 3502
    jobs_metrics: int = 3503
    outputs_metrics: int = 3504
    dispatcher_metrics: int = 3505
    courier_metrics: int = 3506
    executor_metrics: int = 3507

    def inner_s3(self) -> tuple[int, ...]:
        return tuple(range(self.s3_internal, self.s3_internal + SEAWEED_INTERNAL_PORTS))


def variable_of(field_name: str) -> str:
    """Name the environment variable that sets a port."""
    return f"{field_name.upper()}_PORT"


def ports_from(environment: Mapping[str, str]) -> Ports:
    """Read the ports from the environment; unset ones keep their defaults.

    Raises StackError naming every variable that is not a port.
    """
    chosen: dict[str, int] = {}
    faulty: list[str] = []
    for field in fields(Ports):
        text = environment.get(variable_of(field.name), "")
        if not text:
            continue
        if text.isdecimal() and 0 < int(text) < 65_536:
            chosen[field.name] = int(text)
        else:
            faulty.append(variable_of(field.name))
    if faulty:
        raise StackError(f"Not a port number: {', '.join(faulty)}.")
    if "s3" in chosen and "s3_internal" not in chosen:
        chosen["s3_internal"] = chosen["s3"] + 1
    return Ports(**chosen)


def is_free(port: int) -> bool:
    """Tell whether a server could bind this port on the loopback addresses now."""
    return _binds(socket.AF_INET, "127.0.0.1", port) and _nobody_listens_on_ipv6(port)


def require_free(port: int, variable: str) -> None:
    """Raise PortTaken with the sentence for the user when somebody listens on the port."""
    if not is_free(port):
        raise PortTaken(port, variable)


def require_distinct(chosen: Iterable[tuple[str, int]]) -> None:
    """Raise StackError when two variables name the same port."""
    owners: dict[int, str] = {}
    for variable, port in chosen:
        if port in owners:
            raise StackError(f"Port {port} is given to both {owners[port]} and {variable}: change one.")
        owners[port] = variable


def free_port() -> int:
    """Choose a port for a test server: free now, below 32768, never the same twice in one process."""
    return free_ports(1)[0]


def free_ports(count: int) -> tuple[int, ...]:
    """Choose `count` consecutive free ports.

    Raises StackError when a thousand tries find none.
    """
    for _ in range(1000):
        first = random.randrange(TEST_RANGE[0], TEST_RANGE[1] - count)
        block = tuple(range(first, first + count))
        if _handed_out.isdisjoint(block) and all(is_free(port) for port in block):
            _handed_out.update(block)
            return block
    raise StackError(f"No {count} consecutive free ports between {TEST_RANGE[0]} and {TEST_RANGE[1]}.")


def ports_for_tests(executors: int = 1) -> Ports:
    """Choose free ports for a whole stack of its own."""
    single = {
        field.name: free_port() for field in fields(Ports) if not field.name.startswith(("s3_", "executor"))
    }
    return Ports(
        **single,
        s3_internal=free_ports(SEAWEED_INTERNAL_PORTS)[0],
        executor_metrics=free_ports(max(executors, 1))[0],
    )


def _binds(family: socket.AddressFamily, host: str, port: int) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _nobody_listens_on_ipv6(port: int) -> bool:
    # Browsers and curl try ::1 first for "localhost": a stranger there would answer in our place.
    if not socket.has_ipv6:
        return True
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("::1", port)) != 0
