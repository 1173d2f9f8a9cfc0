"""Run a check that talks much: one line when it is fine, everything it said when it is not."""

import subprocess
import sys


def main() -> None:
    name, *command = sys.argv[1:]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}\n{name}: broken")
    print(f"{name}: fine")


if __name__ == "__main__":
    main()
