"""The command `taxiway`, also `python -m taxiway`."""

import os
import sys

from taxiway.shell import main


def run() -> None:
    """Run the command line of this process."""
    sys.exit(main(sys.argv[1:], os.environ))


if __name__ == "__main__":
    run()
