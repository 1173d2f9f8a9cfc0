"""Find the repository the stack runs."""

from pathlib import Path

from stack.errors import StackError

LANDMARK = Path("deploy") / "postgres" / "bootstrap.sql"


def repository_root() -> Path:
    """Return the checkout around this package, or around the current folder when the package lies elsewhere.

    Raises StackError when neither lies in a checkout.
    """
    for start in (Path(__file__).resolve(), Path.cwd()):
        for folder in (start, *start.parents):
            if (folder / LANDMARK).is_file():
                return folder
    raise StackError("Not inside a checkout of Taxiway: change to it first.")
