"""Text in any common encoding becomes UTF-8; what is not text is refused."""

from pathlib import Path

import pytest

from executor.encoding import PIECE, rewrite
from executor.failures import RunFailed

TEXT = "name,city\nZoë,Ærøskøbing\n"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "latin-1"]
)
def test_text_comes_out_as_plain_utf8(tmp_path: Path, encoding: str) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(TEXT.encode(encoding))
    found = rewrite(source, target, "INPUT_FILE", lambda: None)
    assert target.read_bytes() == TEXT.encode()
    assert found.rows == 1


def test_bytes_that_cp1252_does_not_know_are_read_as_latin_1(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"name\nZo\xeb\x81\n")
    assert rewrite(tmp_path / "in", tmp_path / "out", "INPUT_FILE", lambda: None).encoding == "latin-1"


def test_a_character_across_two_pieces_stays_whole(tmp_path: Path) -> None:
    text = "x" * (PIECE - 1) + "é" + "\nlast"
    (tmp_path / "in").write_text(text, encoding="utf-8")
    found = rewrite(tmp_path / "in", tmp_path / "out", "INPUT_FILE", lambda: None)
    assert (tmp_path / "out").read_text(encoding="utf-8") == text
    assert (found.encoding, found.rows) == ("utf-8", 1)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_file"),
        (b" \r\n\n", "empty_file"),
        (b"\xef\xbb\xbf", "empty_file"),
        (b"PK\x03\x04 a spreadsheet", "binary_file"),
        (b"%PDF-1.7 a page", "binary_file"),
        (b"a,b\n\x00\x01\x02\x03", "binary_file"),
        (bytes(range(1, 32)) * 9, "binary_file"),
        (b"\xff\xfea\x00b", "bad_encoding"),
    ],
)
def test_what_is_not_text_is_refused_by_name(tmp_path: Path, content: bytes, code: str) -> None:
    (tmp_path / "in").write_bytes(content)
    with pytest.raises(RunFailed, match="INPUT_FILE") as refused:
        rewrite(tmp_path / "in", tmp_path / "out", "INPUT_FILE", lambda: None)
    assert refused.value.failure.code == code


def test_rewriting_asks_whether_to_go_on(tmp_path: Path) -> None:
    def stop() -> None:
        raise InterruptedError

    (tmp_path / "in").write_bytes(b"a\n")
    with pytest.raises(InterruptedError):
        rewrite(tmp_path / "in", tmp_path / "out", "INPUT_FILE", stop)
