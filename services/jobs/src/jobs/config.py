"""The settings of the jobs processes: the one module that knows the names of their environment variables."""

from collections.abc import Mapping
from dataclasses import dataclass

from common.settings import keyring, seconds, setting, url, whole, words


@dataclass(frozen=True, kw_only=True)
class DispatcherSettings:
    """What `python -m jobs.dispatcher` reads."""

    database_url: str = setting("DATABASE_URL", "PostgreSQL, role jobs")
    redis_url: str = setting("REDIS_URL", "Redis or Valkey that holds the turns")
    run_token_key: str = setting("RUN_TOKEN_KEY", "Ed25519 private key, PEM, that signs run tokens")
    metrics_port: int = setting(
        "METRICS_PORT", "port of /metrics and /healthz", parse=whole(0, 65535), default=3505
    )
    log_level: str = setting("LOG_LEVEL", "debug, info, warning or error", default="info")
    heartbeat_timeout_seconds: float = setting(
        "HEARTBEAT_TIMEOUT_SECONDS",
        "silence after which an executor counts as lost",
        parse=seconds(0.5, 3600),
        default=60.0,
    )
    compare_interval_seconds: float = setting(
        "COMPARE_INTERVAL_SECONDS",
        "how often the turns in Redis are compared with the runs that have one",
        parse=seconds(0.1, 3600),
        default=5.0,
    )
    tick_seconds: float = setting(
        "TICK_SECONDS", "the longest pause between two rounds of duties", parse=seconds(0.05, 60), default=1.0
    )


@dataclass(frozen=True, kw_only=True)
class CourierSettings:
    """What `python -m jobs.courier` reads."""

    database_url: str = setting("DATABASE_URL", "PostgreSQL, role jobs")
    redis_url: str = setting("REDIS_URL", "Redis or Valkey that carries the nudges")
    outputs_url: str = setting("OUTPUTS_URL", "where the outputs service listens", parse=url)
    outputs_signing_key: Mapping[str, bytes] = setting(
        "OUTPUTS_SIGNING_KEY", "kid:hex, signs our calls to outputs", parse=keyring
    )
    sealing_keys: Mapping[str, bytes] = setting(
        "SEALING_KEYS", "kid:hex keys that seal secrets at rest", parse=keyring
    )
    webhook_allowed_hosts: tuple[str, ...] = setting(
        "WEBHOOK_ALLOWED_HOSTS",
        "hosts, addresses and networks inside our own that webhooks may be at, separated by spaces",
        parse=words,
        default=(),
    )
    metrics_port: int = setting(
        "METRICS_PORT", "port of /metrics and /healthz", parse=whole(0, 65535), default=3506
    )
    log_level: str = setting("LOG_LEVEL", "debug, info, warning or error", default="info")
    tick_seconds: float = setting(
        "TICK_SECONDS", "the longest pause between two rounds", parse=seconds(0.05, 60), default=1.0
    )


@dataclass(frozen=True, kw_only=True)
class WatchSettings:
    """What `jobs.watch` reads; gunicorn's own are in common.serving."""

    database_url: str = setting("DATABASE_URL", "PostgreSQL, role jobs")
    redis_url: str = setting("REDIS_URL", "Redis or Valkey that carries the nudges")
    signature_keys: Mapping[str, bytes] = setting(
        "SIGNATURE_KEYS", "kid:hex keys with which the gateway signs callers", parse=keyring
    )
    streams_per_principal: int = setting(
        "STREAMS_PER_PRINCIPAL",
        "streams one caller may have open in one process",
        parse=whole(1, 1_000_000),
        default=100,
    )
    comment_seconds: float = setting(
        "COMMENT_SECONDS",
        "silence after which a stream sends a comment",
        parse=seconds(0.1, 30),
        default=15.0,
    )
    client_silence_seconds: float = setting(
        "CLIENT_SILENCE_SECONDS",
        "how long a client may take nothing of what is sent to it",
        parse=seconds(0.5, 600),
        default=30.0,
    )
    tick_seconds: float = setting(
        "TICK_SECONDS",
        "the longest an event waits for when no nudge came",
        parse=seconds(0.05, 60),
        default=1.0,
    )
    log_level: str = setting("LOG_LEVEL", "debug, info, warning or error", default="info")


@dataclass(frozen=True, kw_only=True)
class MigrationSettings:
    """What `alembic` reads."""

    database_url: str = setting("MIGRATION_DATABASE_URL", "PostgreSQL, role jobs_owner")


@dataclass(frozen=True, kw_only=True)
class ProvisionSettings:
    """What `python -m jobs.cli provision` reads, besides the variables its file names."""

    database_url: str = setting("DATABASE_URL", "PostgreSQL, role jobs")
    sealing_keys: Mapping[str, bytes] = setting(
        "SEALING_KEYS", "kid:hex keys that seal secrets at rest", parse=keyring
    )
    log_level: str = setting("LOG_LEVEL", "debug, info, warning or error", default="info")


@dataclass(frozen=True, kw_only=True)
class ImportSettings:
    """What `python -m jobs.cli import-bundles`, `roster` and `mapping` read."""

    database_url: str = setting("DATABASE_URL", "PostgreSQL, role jobs")
    s3_url: str = setting("S3_URL", "object storage as this process reaches it", parse=url)
    s3_public_url: str = setting("S3_PUBLIC_URL", "object storage as clients reach it", parse=url)
    s3_region: str = setting("S3_REGION", "region that URLs are signed for", default="us-east-1")
    s3_bucket: str = setting("S3_BUCKET", "this service's bucket")
    s3_access_key: str = setting("S3_ACCESS_KEY", "access key of the bucket")
    s3_secret_key: str = setting("S3_SECRET_KEY", "secret key of the bucket")
    log_level: str = setting("LOG_LEVEL", "debug, info, warning or error", default="info")


@dataclass(frozen=True, kw_only=True)
class JobsSettings(ImportSettings):
    """What the web process reads; gunicorn's own are in common.serving."""

    redis_url: str = setting("REDIS_URL", "Redis or Valkey that carries the nudges")
    signature_keys: Mapping[str, bytes] = setting(
        "SIGNATURE_KEYS", "kid:hex keys with which the gateway signs callers", parse=keyring
    )
    run_token_key: str = setting("RUN_TOKEN_KEY", "Ed25519 private key, PEM, that signs run tokens")
    sealing_keys: Mapping[str, bytes] = setting(
        "SEALING_KEYS", "kid:hex keys that seal secrets at rest", parse=keyring
    )
    heartbeat_timeout_seconds: float = setting(
        "HEARTBEAT_TIMEOUT_SECONDS",
        "silence after which an executor counts as lost",
        parse=seconds(0.5, 3600),
        default=60.0,
    )
    run_timeout_seconds: int = setting(
        "RUN_TIMEOUT_SECONDS", "how long one attempt of a run may take", parse=whole(1, 86_400), default=3600
    )
    ods_allowed_hosts: tuple[str, ...] = setting(
        "ODS_ALLOWED_HOSTS",
        "hosts, addresses and networks inside our own that an ODS may be at, separated by spaces",
        parse=words,
        default=(),
    )
    run_memory_mb: int = setting(
        "RUN_MEMORY_MB", "memory an executor gives one run", parse=whole(64, 1_048_576), default=2048
    )
    run_budget_microusd: int = setting(
        "RUN_BUDGET_MICROUSD",
        "what the models a run calls may cost, in millionths of a US dollar; 0 is no budget",
        parse=whole(0, 10**12),
        default=0,
    )
