"""The error table of jobs-watch, apart from that of jobs: its modules would double this process."""

from collections.abc import Callable, Mapping
from typing import Any

from common.problems import Problem
from jobs.api.watch.places import TooManyStreams


def _too_many_streams(error: TooManyStreams) -> Problem:
    return Problem(status=429, detail=str(error), type="too-many-streams", headers={"Retry-After": "5"})


PROBLEMS: Mapping[type[Exception], Callable[[Any], Problem]] = {TooManyStreams: _too_many_streams}
