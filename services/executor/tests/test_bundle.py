"""Archives are unpacked safely, found by their key, and run as they say."""

import io
import tarfile
from pathlib import Path

import pytest

from executor.bundle import EARTHMOVER, ECHO, load, unpack
from executor.failures import RunFailed

METADATA = b"""
display_name: X
path: assessments/X
report_resources: [a]
input_files: [{env_var: I, file_type: [CSV]}]
"""


def archive(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for header, content in members:
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.type, header.linkname = kind, target
    return header


@pytest.mark.parametrize(
    "header",
    [
        member("../outside"),
        member("a/../../outside"),
        member("/absolute"),
        member("link", tarfile.SYMTYPE, "/etc/passwd"),
        member("hard", tarfile.LNKTYPE, "../outside"),
        member("device", tarfile.CHRTYPE),
        member("pipe", tarfile.FIFOTYPE),
    ],
)
def test_an_archive_that_leaves_its_folder_is_refused(tmp_path: Path, header: tarfile.TarInfo) -> None:
    root = tmp_path / "root"
    root.mkdir()
    made = archive(tmp_path / "a.tar.gz", (header, b""))
    with pytest.raises(RunFailed) as refused:
        unpack(made, root)
    assert refused.value.failure.code == "bad_bundle"
    assert list(root.iterdir()) == []
    assert not (tmp_path / "outside").exists()


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(b"nothing of the kind")
    with pytest.raises(RunFailed, match="cannot be read"):
        unpack(tmp_path / "a.tar.gz", tmp_path)


@pytest.mark.parametrize("prefix", ["assessments/X/", ""])
def test_a_bundle_is_found_at_its_key_or_at_the_root(tmp_path: Path, prefix: str) -> None:
    made = archive(tmp_path / "a.tar.gz", (member(f"{prefix}_metadata.yml"), METADATA))
    root = tmp_path / "root"
    unpack(made, root)
    bundle = load(root, "assessments/X")
    assert bundle.folder == (root / prefix if prefix else root)
    assert (bundle.kind, bundle.report_resources, bundle.file_types("I")) == (EARTHMOVER, ["a"], ["csv"])


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"executor.yaml": "kind: echo"}, ECHO),
        ({"executor.yaml": "kind: echo", "earthmover.yaml": "version: 2"}, EARTHMOVER),
    ],
)
def test_earthmover_runs_whatever_has_a_project(tmp_path: Path, files: dict[str, str], kind: str) -> None:
    for name, text in {**files, "_metadata.yaml": METADATA.decode()}.items():
        (tmp_path / name).write_text(text)
    assert load(tmp_path, "assessments/X").kind == kind


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"_metadata.yaml": "["},
        {"_metadata.yaml": "- a"},
        {"_metadata.yaml": "{}", "executor.yaml": "kind: x"},
    ],
)
def test_a_bundle_that_is_none_is_refused(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(RunFailed) as refused:
        load(tmp_path, "assessments/X")
    assert refused.value.failure.code == "bad_bundle"
