"""The cache of archives is bounded, and what is in use stays."""

import os
from pathlib import Path

from executor.cache import Cache


def test_the_longest_unused_archives_leave_first(tmp_path: Path) -> None:
    cache = Cache(folder=tmp_path / "cache", most_bytes=25)
    for number, name in enumerate(("a", "b", "c")):
        path = cache.place(name)
        path.write_bytes(b"x" * 10)
        os.utime(path, (number, number))
    cache.used(cache.place("a"))
    assert {path.name for path in cache.folder.iterdir()} == {"a.tar.gz", "c.tar.gz"}


def test_an_archive_larger_than_the_cache_stays_while_it_is_used(tmp_path: Path) -> None:
    cache = Cache(folder=tmp_path, most_bytes=5)
    for name in ("a", "b"):
        cache.place(name).write_bytes(b"x" * 10)
    cache.used(cache.place("b"))
    assert [path.name for path in tmp_path.iterdir()] == ["b.tar.gz"]
