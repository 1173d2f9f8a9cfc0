"""Find out how a text file is encoded and rewrite it as UTF-8, in pieces, whatever its size."""

import codecs
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from executor.failures import RunFailed

PIECE = 1024 * 1024
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like the mark of UTF-16, so it is asked first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MAGIC = (
    b"PK\x03\x04",
    b"%PDF",
    b"\xd0\xcf\x11\xe0",
    b"\x1f\x8b",
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"PAR1",
    b"SQLite",
)
_CONTROLS = frozenset(range(32)) - {9, 10, 12, 13, 26}


@dataclass(frozen=True, kw_only=True)
class Text:
    """What a file was and how many lines it has after the first."""

    encoding: str
    rows: int


def rewrite(source: Path, target: Path, name: str, pause: Callable[[], None]) -> Text:
    """Write `source` as UTF-8 without a mark to `target`; `pause` is called at every piece and may raise.

    Raises RunFailed (`empty_file`, `binary_file`, `bad_encoding`); `name` is the input's key, for the
    sentence.
    """
    encoding = sniff(source, name)
    lines, size, ends = 0, 0, True
    with target.open("wb") as out:
        for piece in _decoded(source, encoding, name):
            pause()
            data = piece.encode("utf-8")
            lines, size = lines + data.count(b"\n"), size + len(data)
            ends = data.endswith(b"\n") if data else ends
            out.write(data)
    if not size:
        raise _empty(name)
    return Text(encoding=encoding, rows=max(0, lines - (1 if ends else 0)))


def sniff(path: Path, name: str) -> str:
    """Name the encoding of a text file, or raise RunFailed for an empty or a binary one."""
    with path.open("rb") as file:
        head = file.read(65536)
    if not head.strip():
        raise _empty(name)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    return _unmarked(path, head, name)


def _unmarked(path: Path, head: bytes, name: str) -> str:
    if b"\x00" in head:
        encoding = _wide(head)
        if encoding is None:
            raise _binary(name)
        return encoding
    if head.startswith(_MAGIC) or sum(byte in _CONTROLS for byte in head) > len(head) // 100:
        raise _binary(name)
    return next(encoding for encoding in ("utf-8", "cp1252", "latin-1") if _decodes(path, encoding))


def _wide(head: bytes) -> str | None:
    """UTF-16 without a mark: nearly every other byte of western text is zero."""
    half = len(head) // 2
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if odd > 0.4 * half and even < 0.05 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.4 * half and odd < 0.05 * half else None


def _decodes(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for piece in _pieces(path):
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _decoded(path: Path, encoding: str, name: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for piece in _pieces(path):
            yield decoder.decode(piece)
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        sentence = f"{name} looks like {encoding.upper()} but is not. Save it as UTF-8 and send it again."
        raise RunFailed("bad_encoding", sentence) from error


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def _empty(name: str) -> RunFailed:
    return RunFailed("empty_file", f"{name} is empty.")


def _binary(name: str) -> RunFailed:
    return RunFailed("binary_file", f"{name} is not a text file. Export it as CSV and send it again.")
