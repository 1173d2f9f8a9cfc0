"""The executor's door: `python -m executor`."""

import os
import sys

from common import logs
from common.settings import SettingsError, load
from executor import metrics
from executor.config import Settings
from executor.forge import Forge
from executor.runs import Runner


def main() -> int:
    """Serve one pool's line until SIGTERM; one run at a time."""
    try:
        settings = load(Settings, os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - logging is not set up yet
        return 2
    os.umask(0o077)  # inputs and outputs are people's data
    logs.configure("executor", settings.log_level)
    forge = Forge()
    runner = Runner(settings=settings, forge=forge)
    runner.sweep()
    if settings.metrics_port:
        metrics.serve(settings.metrics_port)
    forge.warm()
    try:
        runner.serve()
    finally:
        forge.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
