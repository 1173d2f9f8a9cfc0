"""The settings of the outputs processes: the one module that knows their environment variables."""

from collections.abc import Mapping
from dataclasses import dataclass

from common.settings import keyring, setting, url


@dataclass(frozen=True, kw_only=True)
class OutputsSettings:
    """What the web process reads; gunicorn's own are in common.serving."""

    database_url: str = setting("DATABASE_URL", "PostgreSQL, role outputs")
    s3_url: str = setting("S3_URL", "object storage as this process reaches it", parse=url)
    s3_public_url: str = setting("S3_PUBLIC_URL", "object storage as clients reach it", parse=url)
    s3_region: str = setting("S3_REGION", "region that URLs are signed for", default="us-east-1")
    s3_bucket: str = setting("S3_BUCKET", "this service's bucket")
    s3_access_key: str = setting("S3_ACCESS_KEY", "access key of the bucket")
    s3_secret_key: str = setting("S3_SECRET_KEY", "secret key of the bucket")
    signature_keys: Mapping[str, bytes] = setting(
        "SIGNATURE_KEYS", "kid:hex keys with which the gateway and our services sign callers", parse=keyring
    )
    log_level: str = setting("LOG_LEVEL", "debug, info, warning or error", default="info")


@dataclass(frozen=True, kw_only=True)
class MigrationSettings:
    """What `alembic` reads."""

    database_url: str = setting("MIGRATION_DATABASE_URL", "PostgreSQL, role outputs_owner")
