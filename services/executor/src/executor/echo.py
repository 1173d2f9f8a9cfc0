"""The kind of bundle that tests the platform: each line of each input comes out as a record.

Parameters: ECHO_SECONDS (work that long, in small steps), ECHO_FAIL (fail; `transient` may be tried again).
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from executor.failures import RunFailed
from executor.inputs import Staged
from executor_sdk.errors import CLIENT, TRANSIENT

_STEP_SECONDS = 0.5
_LONGEST_SECONDS = 3600.0


def run(
    staged: Sequence[Staged],
    params: Mapping[str, str],
    output: Path,
    *,
    pause: Callable[[], None],
    told: Callable[[float, str], None],
) -> None:
    """Wait, fail or copy, as the parameters say; `told` hears the part that is done, 0 to 1."""
    _wait(_seconds(params.get("ECHO_SECONDS", "")), pause, told)
    if params.get("ECHO_FAIL"):
        error_class = TRANSIENT if params["ECHO_FAIL"] == "transient" else CLIENT
        raise RunFailed("echo_failed", f"The run was asked to fail: {params['ECHO_FAIL']}", error_class)
    for each in staged:
        _copy(each, output / f"{each.key}.jsonl", pause)


def _seconds(text: str) -> float:
    try:
        return min(max(float(text or 0), 0.0), _LONGEST_SECONDS)
    except ValueError:
        raise RunFailed("invalid_params", "ECHO_SECONDS is not a number.", CLIENT) from None


def _wait(seconds: float, pause: Callable[[], None], told: Callable[[float, str], None]) -> None:
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        pause()
        told(passed / seconds, f"{passed:.1f} of {seconds:g} seconds")
        time.sleep(min(_STEP_SECONDS, seconds - passed))


def _copy(staged: Staged, target: Path, pause: Callable[[], None]) -> None:
    with staged.path.open(encoding="utf-8", newline="\n") as lines, target.open("w", encoding="utf-8") as out:
        for number, line in enumerate(lines):
            if number % 1000 == 0:
                pause()
            out.write(json.dumps({"line": line.rstrip("\r\n")}, ensure_ascii=False) + "\n")
