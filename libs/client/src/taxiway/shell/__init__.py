"""The command line: read it, do it, and end with a code that a script can trust."""

import os
import sys
from collections.abc import Mapping, Sequence

from taxiway.errors import OutOfTime, Refused, TaxiwayError
from taxiway.shell import exits
from taxiway.shell.desk import Desk
from taxiway.shell.options import read_options
from taxiway.shell.screen import Screen

_CANNOT_NOW = (502, 503, 504)


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run one command and return its exit code."""
    options = read_options(arguments)
    screen = Screen(sys.stdout, sys.stderr, as_json=options.json)
    try:
        code: int = options.action(options, Desk(environment=environment, screen=screen))
        return code
    except exits.Misused as error:
        screen.wrong(str(error))
        return exits.USAGE
    except TaxiwayError as error:
        return _say(screen, error)
    except BrokenPipeError:
        _forget_output()
        return exits.OK
    except OSError as error:
        screen.wrong(str(error))
        return exits.USAGE
    except KeyboardInterrupt:
        return exits.INTERRUPTED


def _forget_output() -> None:
    """Send the rest of standard output nowhere: its reader has seen enough."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _say(screen: Screen, error: TaxiwayError) -> int:
    if isinstance(error, OutOfTime):
        screen.wrong(str(error))
        return exits.NOT_ENDED
    if not isinstance(error, Refused):
        screen.wrong(str(error))
        return exits.UNREACHABLE
    problem = error.problem
    screen.wrong(f"{problem.detail} ({problem.status})", problem)
    return exits.UNREACHABLE if problem.status in _CANNOT_NOW else exits.REFUSED
