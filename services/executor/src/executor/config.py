"""The executor's settings: the environment is read here and nowhere else."""

from dataclasses import dataclass
from pathlib import Path

from common.settings import seconds, setting, url, whole


def absolute(text: str) -> Path:
    """Parse a folder; children work elsewhere, so it must not depend on where this process started."""
    return Path(text).absolute()


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one executor process needs to know. It holds no database, storage or cloud credentials."""

    gateway_url: str = setting("GATEWAY_URL", "the gateway, e.g. http://127.0.0.1:3333", parse=url)
    redis_url: str = setting("REDIS_URL", "the Redis that holds the line")
    pool: str = setting("POOL", "the pool whose line is read", default="default")
    name: str = setting("EXECUTOR_NAME", "this executor's name; host and process id if empty", default="")
    work_folder: Path = setting(  # noqa: RUF009
        "WORK_FOLDER", "where runs and cached bundles lie; emptied of runs", parse=absolute
    )
    cache_mb: int = setting(
        "CACHE_MB", "the most the cache of bundles may hold", parse=whole(1, 1048576), default=1024
    )
    metrics_port: int = setting(
        "METRICS_PORT", "/metrics and /healthz; 0 is off", parse=whole(0, 65535), default=0
    )
    log_level: str = setting("LOG_LEVEL", "DEBUG, INFO, WARNING or ERROR", default="INFO")
    heartbeat_timeout_seconds: float = setting(
        "HEARTBEAT_TIMEOUT_SECONDS",
        "silence after which the server gives a run to another executor, and this one gives it up",
        parse=seconds(0.5, 3600),
        default=60.0,
    )
    timeout_seconds: float = setting(
        "TIMEOUT_SECONDS",
        "the longest a child may run, whatever the work order says",
        parse=seconds(1, 86400),
        default=3600.0,
    )
    memory_mb: int = setting(
        "MEMORY_MB", "the most memory a child may use", parse=whole(256, 1048576), default=2048
    )
    file_mb: int = setting(
        "FILE_MB", "the largest file a child may write", parse=whole(1, 1048576), default=8192
    )
    open_files: int = setting(
        "OPEN_FILES", "how many files a child may hold open", parse=whole(32, 65536), default=256
    )
