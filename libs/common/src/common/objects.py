"""Object storage (S3): presigned URLs, looking objects up, removing them.

Bytes of clients and executors never pass through a service; a service stores only small objects of its own
(bundle archives). URLs are signed for `public_url`, calls go to `url`: behind a load balancer they differ.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import quote

import boto3
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError

URL_SECONDS = 3600
_MISSING = {"404", "NoSuchKey", "NotFound"}


class StorageUnavailable(Exception):
    """Object storage cannot be reached, or refuses us, right now."""


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """What storage knows of an object. `sha256` is base64, and empty when storage has none."""

    key: str
    size_bytes: int
    etag: str
    sha256: str
    modified_at: datetime


class ObjectStore(Protocol):
    """The object storage of one service: one bucket. Every call may raise StorageUnavailable."""

    def presign_get(self, key: str, *, response_headers: Mapping[str, str] | None = None) -> str: ...

    def presign_put(self, key: str, *, headers: Mapping[str, str] | None = None) -> str: ...

    def look_up(self, key: str) -> StoredObject | None: ...

    def write(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> None: ...

    def read(self, key: str) -> bytes: ...

    def remove_under(self, prefix: str) -> int: ...

    def probe(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class S3Settings:
    """Where a service's bucket is and the credentials for it."""

    url: str
    public_url: str
    region: str
    bucket: str
    access_key: str
    secret_key: str = field(repr=False)


class S3Store:
    """An ObjectStore on S3 or anything that speaks it."""

    def __init__(self, settings: S3Settings) -> None:
        self._bucket = settings.bucket
        self._public = f"{settings.public_url.rstrip('/')}/{settings.bucket}"
        credentials = Credentials(settings.access_key, settings.secret_key)
        self._signer = S3SigV4QueryAuth(credentials, "s3", settings.region, expires=URL_SECONDS)
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=settings.url,
            region_name=settings.region,
            aws_access_key_id=settings.access_key,
            aws_secret_access_key=settings.secret_key,
            config=Config(
                s3={"addressing_style": "path"},
                connect_timeout=3,
                read_timeout=20,
                retries={"max_attempts": 3, "mode": "standard"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def presign_get(self, key: str, *, response_headers: Mapping[str, str] | None = None) -> str:
        """Sign a download valid for an hour; `response_headers` are `response-content-…` overrides of S3."""
        return self._presign("GET", key, response_headers or {}, {})

    def presign_put(self, key: str, *, headers: Mapping[str, str] | None = None) -> str:
        """Sign an upload valid for an hour. The uploader must send exactly `headers`; without any, only the
        host is signed, so that every HTTP client can upload with any content type."""
        return self._presign("PUT", key, {}, headers or {})

    def _presign(self, method: str, key: str, params: Mapping[str, str], headers: Mapping[str, str]) -> str:
        url = f"{self._public}/{quote(key, safe='/-_.~')}"
        request = AWSRequest(method=method, url=url, params=dict(params), headers=dict(headers))
        self._signer.add_auth(request)
        return str(request.url)  # prepare() would take it apart once more

    def look_up(self, key: str) -> StoredObject | None:
        """Ask for an object's size and checksums; none when there is no such object."""
        try:
            head = self._client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _MISSING:
                return None
            raise StorageUnavailable(str(error)) from error
        except BotoCoreError as error:
            raise StorageUnavailable(str(error)) from error
        return StoredObject(
            key=key,
            size_bytes=head["ContentLength"],
            etag=head["ETag"].strip('"'),
            sha256=head.get("ChecksumSHA256", ""),
            modified_at=head["LastModified"],
        )

    def write(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> None:
        """Store a small object of our own."""
        with _storage_errors():
            self._client.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType=content_type)

    def read(self, key: str) -> bytes:
        """Fetch a small object of our own."""
        with _storage_errors():
            return bytes(self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read())

    def remove_under(self, prefix: str) -> int:
        """Delete every object whose key starts with `prefix`; return how many. Repeating is harmless."""
        removed = 0
        with _storage_errors():
            for keys in self._pages(prefix):
                objects = [{"Key": key} for key in keys]
                delete = {"Objects": objects, "Quiet": True}
                answer = self._client.delete_objects(Bucket=self._bucket, Delete=delete)
                if refused := answer.get("Errors"):  # answered with 200 all the same
                    raise StorageUnavailable(f"{len(refused)} objects were not deleted: {refused[0]}")
                removed += len(objects)
        return removed

    def _pages(self, prefix: str) -> Iterator[list[str]]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        for page in pages:
            if keys := [item["Key"] for item in page.get("Contents", [])]:
                yield keys

    def probe(self) -> None:
        """Ask whether the bucket is there; any error means not ready."""
        with _storage_errors():
            self._client.head_bucket(Bucket=self._bucket)


class _storage_errors:  # noqa: N801 - reads as the statement it guards
    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (ClientError, BotoCoreError)):
            raise StorageUnavailable(str(error)) from error


def attachment(name: str) -> str:
    """Write a Content-Disposition that downloads under `name`, whatever characters it has (RFC 6266 §5)."""
    plain = "".join(c if " " <= c <= "~" and c not in '"\\%' else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
