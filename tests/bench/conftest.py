"""Tests that the benches run; without Debian's nginx and wrk those that need them are not part of the run."""

import shutil

collect_ignore_glob = [] if shutil.which("wrk") and shutil.which("nginx") else ["test_rows_run.py"]
