import time
from typing import Any

import pytest
import urllib3
from botocore.exceptions import ClientError

from stack.bootstrap import s3_client
from stack.testing import Servers

BUCKET = "taxiway-jobs"


@pytest.fixture
def signer(servers: Servers) -> Any:
    """A client that signs for the URL clients use, not the one services use."""
    access = servers.s3("jobs")
    return s3_client(access.public_url, access.access_key, access.secret_key)


def presigned(signer: Any, seconds: int = 60, key: str = "kept") -> str:
    url: str = signer.generate_presigned_url(
        "get_object", Params={"Bucket": BUCKET, "Key": key}, ExpiresIn=seconds
    )
    return url


def get_status(url: str) -> int:
    return urllib3.request("GET", url, timeout=5, retries=False).status


@pytest.fixture(autouse=True)
def _object(servers: Servers) -> None:
    servers.s3_client("jobs").put_object(Bucket=BUCKET, Key="kept", Body=b"bytes")


def test_a_signed_link_for_the_public_url_opens(signer: Any) -> None:
    assert get_status(presigned(signer)) == 200


def test_a_signed_link_for_the_inner_url_opens(servers: Servers) -> None:
    assert get_status(presigned(servers.s3_client("jobs"))) == 200


def test_an_unsigned_request_is_refused(servers: Servers) -> None:
    assert get_status(f"{servers.s3('jobs').url}/{BUCKET}/kept") == 403


def test_an_expired_link_is_refused(signer: Any) -> None:
    url = presigned(signer, seconds=1)
    deadline = time.monotonic() + 5
    while get_status(url) == 200 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert get_status(url) == 403


def test_a_link_altered_to_another_object_is_refused(signer: Any) -> None:
    assert get_status(presigned(signer).replace("/kept?", "/other?")) == 403


@pytest.mark.parametrize("act", ["get_object", "delete_object", "head_object"])
def test_one_service_cannot_touch_the_other_ones_bucket(servers: Servers, act: str) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(servers.s3_client("outputs"), act)(Bucket=BUCKET, Key="kept")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_a_service_cannot_make_buckets(servers: Servers) -> None:
    with pytest.raises(ClientError):
        servers.s3_client("jobs").create_bucket(Bucket="another")


def test_an_object_is_written_once_when_asked_so(servers: Servers) -> None:
    client = servers.s3_client("jobs")
    client.put_object(Bucket=BUCKET, Key="once", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError) as caught:
        client.put_object(Bucket=BUCKET, Key="once", Body=b"2", IfNoneMatch="*")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412


def test_the_inner_ports_serve_no_object_without_a_token(servers: Servers) -> None:
    answers = [
        urllib3.request("GET", f"http://127.0.0.1:{port}/buckets/{BUCKET}/kept", timeout=2, retries=False)
        for port in servers.ports.inner_s3()[1:8:2]  # master, volume, filer, admin over HTTP
    ]
    assert all(answer.data != b"bytes" and answer.status >= 300 for answer in answers)


def test_a_killed_server_starts_again_with_its_data(servers: Servers) -> None:
    servers.seaweed.kill()
    servers.seaweed.restart()
    answer = servers.s3_client("jobs").get_object(Bucket=BUCKET, Key="kept")
    assert answer["Body"].read() == b"bytes"
