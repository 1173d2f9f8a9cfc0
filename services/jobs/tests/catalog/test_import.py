"""Importing bundles: from folders and git into storage and the database."""

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from common.database import transaction
from common.objects import S3Store
from jobs.catalog import archives, bundles, sources
from jobs.catalog.bundles import Report
from jobs.catalog.sources import SourceUnusable

DIRECT = "config:\n  parameter_defaults: {STUDENT_ID_NAME: ID}\n"
MATCHED = "config:\n  output_dir: ${OUTPUT_DIR}\nx: ${FROM_PACKAGE}\n"


class Source:
    """A folder of bundles."""

    def __init__(self, root: Path, engine: Engine, store: S3Store) -> None:
        self.root, self._engine, self._store = root, engine, store

    def add(self, key: str, **files: str) -> Path:
        folder = self.root / key
        folder.mkdir(parents=True, exist_ok=True)
        files.setdefault("_metadata", f"path: {key}")
        for name, content in files.items():
            (folder / f"{name}.yaml").write_text(content)
        return folder

    def add_packages(self) -> None:
        self.add("packages/student_id_wrapper", earthmover=MATCHED, _metadata="").joinpath(
            "_metadata.yaml"
        ).unlink()
        defaults = "config:\n  parameter_defaults: {FROM_PACKAGE: x}\n"
        self.add("packages/student_ids", earthmover=defaults, _metadata="").joinpath(
            "_metadata.yaml"
        ).unlink()

    def load(self, root: Path | None = None) -> dict[str, Report]:
        reports = bundles.import_all(self._engine, self._store, root or self.root)
        return {report.name: report for report in reports}

    def archive(self, sha256: str) -> list[str]:
        content = self._store.read(bundles.archive_key(sha256))
        assert hashlib.sha256(content).hexdigest() == sha256
        with tarfile.open(fileobj=io.BytesIO(content)) as packed:
            return packed.getnames()


@pytest.fixture
def source(tmp_path: Path, engine: Engine, store: S3Store) -> Source:
    return Source(tmp_path, engine, store)


def version_in_use(rows: Any, key: str) -> Any:
    statement = (
        "SELECT v.* FROM bundle b JOIN bundle_version v ON v.id = b.current_version_id WHERE key = :key"
    )
    return rows(statement, key=key)[0]


def test_the_same_content_is_no_new_version_and_other_content_is(source: Source, rows: Any) -> None:
    folder = source.add("assessments/A", earthmover=DIRECT)
    assert source.load()["assessments/A"] == Report(
        name="assessments/A", number=1, is_new=True, mode="direct"
    )
    assert source.load()["assessments/A"].is_new is False
    (folder / "seeds").mkdir()
    (folder / "seeds" / "a.csv").write_text("x")
    assert source.load()["assessments/A"].number == 2
    kept = version_in_use(rows, "assessments/A")
    assert source.archive(kept["sha256"]) == [
        "assessments/A/_metadata.yaml",
        "assessments/A/earthmover.yaml",
        "assessments/A/seeds/a.csv",
    ]
    (folder / "seeds" / "a.csv").unlink()
    assert (source.load()["assessments/A"].number, version_in_use(rows, "assessments/A")["number"]) == (1, 1)


def test_an_archive_depends_on_nothing_but_content(source: Source) -> None:
    folder = source.add("assessments/Same", earthmover=DIRECT)
    first = archives.pack([("a/b", folder)])
    (folder / "earthmover.yaml").touch()
    (folder / ".git").mkdir()
    (folder / ".git" / "x").write_text("x")
    assert archives.pack([("a/b", folder)]) == first


def test_a_matched_bundle_brings_the_packages_it_needs(source: Source, rows: Any) -> None:
    source.add_packages()
    source.add("assessments/M", earthmover=MATCHED)
    assert source.load()["assessments/M"] == Report(
        name="assessments/M", number=1, is_new=True, mode="matched"
    )
    names = source.archive(version_in_use(rows, "assessments/M")["sha256"])
    assert "packages/student_id_wrapper/earthmover.yaml" in names
    assert "packages/student_ids/earthmover.yaml" in names


def test_a_faulty_bundle_is_named_and_the_rest_go_in(source: Source) -> None:
    source.add("assessments/Good", earthmover=DIRECT)
    source.add("assessments/NoColumn", earthmover=MATCHED)
    source.add("assessments/NoPath", _metadata="display_name: x")
    source.add("assessments/NoYaml", _metadata="a: [")
    source.add("assessments/Twin", _metadata="path: assessments/Good", earthmover=DIRECT)
    source.add("assessments/Link", earthmover=DIRECT).joinpath("link").symlink_to("/etc/hostname")
    source.add("assessments/LinkedMetadata", earthmover=DIRECT).joinpath("_metadata.yaml").unlink()
    (source.root / "assessments/LinkedMetadata/_metadata.yaml").symlink_to(
        source.root / "assessments/Good/_metadata.yaml"
    )
    source.add("assessments/OddExecutor", executor="kind: shell")
    faults = {name: report.fault for name, report in source.load().items() if report.fault}
    assert set(faults) == {
        f"assessments/{name}"
        for name in ("NoColumn", "NoPath", "NoYaml", "Twin", "Link", "LinkedMetadata", "OddExecutor")
    }
    assert faults["assessments/Twin"] == "assessments/Good is also the key of assessments/Good"


def test_warnings_are_kept_with_the_version(source: Source, rows: Any) -> None:
    source.add("assessments/W", earthmover=DIRECT + "x: ${NOBODY}\n")
    expected = ["earthmover.yaml:3: nothing fills in ${NOBODY}"]
    assert list(source.load()["assessments/W"].warnings) == expected
    assert version_in_use(rows, "assessments/W")["warnings"] == expected


def test_a_folder_with_metadata_alone_goes_in_with_a_warning(source: Source) -> None:
    source.add("assessments/Meta")
    report = source.load()["assessments/Meta"]
    assert (report.number, report.fault) == (1, "")
    assert report.warnings == ("has no earthmover.yaml: jobs can be created but will not run",)


def test_metadata_alone_does_not_take_the_place_of_a_bundle_that_runs(source: Source, rows: Any) -> None:
    folder = source.add("assessments/Runs", earthmover=DIRECT)
    source.load()
    (folder / "earthmover.yaml").unlink()
    report = source.load()["assessments/Runs"]
    assert report.warnings[-1] == "is not taken into use: the version in use can run"
    assert version_in_use(rows, "assessments/Runs")["number"] == 1


def test_metadata_may_end_in_yml_and_lie_in_the_source_itself(source: Source) -> None:
    (source.root / "_metadata.yml").write_text("path: assessments/Alone")
    (source.root / "earthmover.yaml").write_text(DIRECT)
    assert source.load()["assessments/Alone"].mode == "direct"


def test_an_echo_bundle_needs_no_project(source: Source, rows: Any) -> None:
    source.add("tests/echo", executor="kind: echo")
    assert source.load()["tests/echo"].warnings == ()
    assert version_in_use(rows, "tests/echo")["kind"] == "echo"


def test_a_version_never_changes(source: Source, engine: Engine) -> None:
    source.add("assessments/Fixed", earthmover=DIRECT)
    source.load()
    for statement in ("UPDATE bundle_version SET number = 9", "DELETE FROM bundle_version"):
        with pytest.raises(DBAPIError, match="immutable"), transaction(engine) as connection:
            connection.execute(text(statement))


def test_a_repository_is_imported_at_a_ref(source: Source, tmp_path_factory: pytest.TempPathFactory) -> None:
    repository = tmp_path_factory.mktemp("repository")
    origin = Source(repository, source._engine, source._store)
    origin.add("assessments/Git", earthmover=DIRECT)
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "one"], ["tag", "v1"]):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *identity, *command], cwd=repository, check=True)
    (repository / "assessments/Git/later.csv").write_text("x")
    with sources.opened(f"file://{repository}", "v1") as folder:
        assert not (folder / "assessments/Git/later.csv").exists()
        assert source.load(folder)["assessments/Git"].number == 1
    assert not folder.exists()


@pytest.mark.parametrize(
    ("where", "ref"),
    [
        ("nowhere", ""),
        ("nowhere", "main"),
        ("file:///nowhere", ""),
        ("ext::sh", "x"),
        ("--upload-pack=x", "x"),
    ],
)
def test_a_source_that_cannot_be_opened_is_refused(where: str, ref: str) -> None:
    with pytest.raises(SourceUnusable), sources.opened(where, ref):
        pass
