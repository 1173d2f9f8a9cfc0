"""Tests with a real browser; without Debian's chromium and chromium-driver they are not part of the run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import CHROMEDRIVER, CHROMIUM, Browser, browser

collect_ignore_glob = [] if CHROMIUM and CHROMEDRIVER else ["test_*.py"]


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Browser]:
    with browser(tmp_path) as opened:
        yield opened
