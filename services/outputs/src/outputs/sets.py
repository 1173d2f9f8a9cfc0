"""Sets in the making: declared by an executor, uploaded, sealed. Nothing here is seen by clients.

SetError
 ├── LimitsExceeded    400
 ├── FilesNotAsDeclared 400
 ├── SetNotFound       404
 ├── SetExists         409
 └── RunHasEnded       410
"""

import base64
import re
import unicodedata
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from common import database, ids
from common.objects import ObjectStore, StoredObject
from outputs.tables import OutputFile, OutputSet, find_set, find_set_by_name

RESULT, REPORT = "result", "report"
MAX_FILES = 200
MAX_NAME_CHARACTERS = 255
MAX_NAME_BYTES = 900  # an object's key has at most 1024, with run, lease and set before the name
MAX_FILE_BYTES = 50 * 1024**3
LOOK_UPS_AT_ONCE = 8

MAX_SETS = 1000  # a lease; `complete` names no more
_SHA256 = re.compile("[0-9a-f]{64}")

_HAS_ENDED = text("SELECT EXISTS (SELECT FROM outcome WHERE run_id = :run_id)")
_COUNT = text("SELECT count(*) FROM output_set WHERE run_id = :run_id AND lease = :lease")
_ADD_SET = text("""
    INSERT INTO output_set (uid, run_id, lease, kind, name, sent_to_ods)
    VALUES (:uid, :run_id, :lease, :kind, :name, :sent_to_ods)
""")
_ADD_FILES = text("""
    INSERT INTO output_file (set_uid, position, name, size_bytes, sha256)
    SELECT :uid, f.position, f.name, f.size_bytes, f.sha256
    FROM unnest(CAST(:names AS text[]), CAST(:sizes AS bigint[]), CAST(:sha256s AS text[]))
         WITH ORDINALITY AS f (name, size_bytes, sha256, position)
""")
_SEAL = text("""
    UPDATE output_set SET sealed_at = coalesce(sealed_at, now()) WHERE uid = :uid RETURNING sealed_at
""")


class SetError(Exception):
    """An executor's request about an output set cannot be met."""


class LimitsExceeded(SetError):
    """`details` says of each faulty field what its limit is."""

    def __init__(self, details: Mapping[str, Sequence[str]]) -> None:
        super().__init__("The output set exceeds a limit")
        self.details = details


class FilesNotAsDeclared(SetError):
    """`details` says of each file what storage holds in its place."""

    def __init__(self, details: Mapping[str, Sequence[str]]) -> None:
        super().__init__("Files are missing or not as declared: " + ", ".join(sorted(details)))
        self.details = details


class SetNotFound(SetError):
    """There is no such set under this lease."""


class SetExists(SetError):
    """The lease has a set of this name with other content."""


class RunHasEnded(SetError):
    """The run's outcome is recorded: what is made now would belong to nobody."""


@dataclass(frozen=True, kw_only=True)
class NewSet:
    """A set as its executor declares it."""

    run_id: UUID
    lease: int
    kind: str
    name: str
    sent_to_ods: bool
    files: tuple[OutputFile, ...]

    def __post_init__(self) -> None:
        """Raise LimitsExceeded with every fault at once."""
        faults = {"name": _name_faults(self.name), "files": _files_faults(self.files)}
        for position, file in enumerate(self.files[:MAX_FILES]):
            faults |= _file_faults(f"files.{position}", file)
        if details := {field: messages for field, messages in faults.items() if messages}:
            raise LimitsExceeded(details)

    def is_made_as(self, made: OutputSet) -> bool:
        return (self.kind, self.sent_to_ods, self.files) == (made.kind, made.sent_to_ods, made.files)


def _file_faults(field: str, file: OutputFile) -> dict[str, list[str]]:
    faults = {f"{field}.name": _name_faults(file.name)}
    if file.size_bytes > MAX_FILE_BYTES:
        faults[f"{field}.size_bytes"] = [f"a file has at most {MAX_FILE_BYTES} bytes"]
    if not _SHA256.fullmatch(file.sha256):
        faults[f"{field}.sha256"] = ["sha256 is 64 digits of lower-case hex"]
    return faults


def _files_faults(files: Sequence[OutputFile]) -> list[str]:
    faults = []
    if not 1 <= len(files) <= MAX_FILES:
        faults.append(f"a set has from 1 to {MAX_FILES} files")
    if len({file.name for file in files}) < len(files):
        faults.append("names of files are unique within a set")
    return faults


def _name_faults(name: str) -> list[str]:
    if not 1 <= len(name) <= MAX_NAME_CHARACTERS:
        return [f"a name has from 1 to {MAX_NAME_CHARACTERS} characters"]
    if name in (".", "..") or any(map(_is_unsafe, name)):
        return ["a name is not . or .. and holds no /, \\ or control character"]
    # Surrogates are control characters to Unicode, so that what comes here can be encoded.
    if len(name.encode()) > MAX_NAME_BYTES:
        return [f"a name has at most {MAX_NAME_BYTES} bytes in UTF-8"]
    return []


def _is_unsafe(character: str) -> bool:
    return character in "/\\\u2028\u2029" or unicodedata.category(character).startswith("C")


def run_lock(run_id: UUID) -> tuple[object, ...]:
    """Name the lock that holds a run's sets still: making, sealing and ending never overlap."""
    return "run", run_id


def lock_run(connection: Connection, run_id: UUID) -> None:
    """Hold a run's sets still until the transaction ends."""
    database.lock(connection, *run_lock(run_id))


def require_unended(connection: Connection, run_id: UUID) -> None:
    """Raise RunHasEnded once the outcome is recorded. Call it under `lock_run`."""
    if connection.execute(_HAS_ENDED, {"run_id": run_id}).scalar_one():
        raise RunHasEnded(str(run_id))


def declare(connection: Connection, new: NewSet) -> tuple[OutputSet, bool]:
    """Make the set, or find the same one made before; the second value tells which. Call it under `lock_run`.

    Raises SetExists when the lease gave the name to other content.
    """
    found = find_set_by_name(connection, new.run_id, new.lease, new.name)
    if found is None:
        return _add(connection, new), True
    if not new.is_made_as(found):
        raise SetExists(new.name)
    return found, False


def _add(connection: Connection, new: NewSet) -> OutputSet:
    if connection.execute(_COUNT, {"run_id": new.run_id, "lease": new.lease}).scalar_one() >= MAX_SETS:
        raise LimitsExceeded({"name": [f"a run makes at most {MAX_SETS} output sets"]})
    uid = ids.new_uid()
    values = {name: getattr(new, name) for name in ("run_id", "lease", "kind", "name", "sent_to_ods")}
    connection.execute(_ADD_SET, {"uid": uid, **values})
    files = {
        "names": [file.name for file in new.files],
        "sizes": [file.size_bytes for file in new.files],
        "sha256s": [file.sha256 for file in new.files],
    }
    connection.execute(_ADD_FILES, {"uid": uid, **files})
    return OutputSet(
        uid=uid, sealed_at=None, published_at=None, partner=None, files=new.files, **values
    )  # fmt: skip


def upload_headers(file: OutputFile) -> dict[str, str]:
    """The headers an upload must send, and its URL signs: these bytes only, and only once."""
    return {
        "x-amz-checksum-sha256": base64.b64encode(bytes.fromhex(file.sha256)).decode(),
        "content-length": str(file.size_bytes),
        "if-none-match": "*",
    }


def require_set_of(connection: Connection, uid: UUID, run_id: UUID, lease: int) -> OutputSet:
    """Find a set of this lease or raise SetNotFound: other leases' sets are not to be told from none."""
    found = find_set(connection, uid)
    if found is None or (found.run_id, found.lease) != (run_id, lease):
        raise SetNotFound(str(uid))
    return found


def inspect(store: ObjectStore, made: OutputSet) -> None:
    """Look every file up in storage; raise FilesNotAsDeclared naming those of another size or checksum."""
    with ThreadPoolExecutor(max_workers=min(LOOK_UPS_AT_ONCE, len(made.files))) as threads:
        stored = list(threads.map(lambda file: store.look_up(made.key(file)), made.files))
    pairs = zip(made.files, stored, strict=True)
    faults = {file.name: [fault] for file, found in pairs if (fault := _fault(file, found))}
    if faults:
        raise FilesNotAsDeclared(faults)


def _fault(file: OutputFile, found: StoredObject | None) -> str:
    if found is None:
        return "was not uploaded"
    if found.size_bytes != file.size_bytes:
        return f"has {found.size_bytes} bytes, {file.size_bytes} were declared"
    if found.sha256 != upload_headers(file)["x-amz-checksum-sha256"]:
        return "has another SHA-256 than declared"
    return ""


def seal(connection: Connection, made: OutputSet) -> None:
    """Note that every file was found as declared. Call it under `lock_run`; repeating changes nothing."""
    if connection.execute(_SEAL, {"uid": made.uid}).one_or_none() is None:
        raise SetNotFound(str(made.uid))
