"""The exit codes; `taxiway --help` and the README list them."""

OK = 0
JOB_FAILED = 1
USAGE = 2
REFUSED = 3
UNREACHABLE = 4
NOT_ENDED = 5
INTERRUPTED = 130

LIST = """\
exit codes:
  0  done; with `wait`: the job completed
  1  the job failed or was canceled
  2  the command line, a local file or the login is wrong
  3  the server refused (what it said is shown)
  4  the server or the issuer cannot be reached
  5  the job has not ended yet
"""


class Misused(Exception):
    """The command cannot be done as it was given; the text says what to do instead."""
