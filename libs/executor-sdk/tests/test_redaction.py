"""Secrets are taken out of what an executor says."""

import pytest

from executor_sdk.redaction import redact


@pytest.mark.parametrize(
    ("text", "kept", "gone"),
    [
        ("GET https://s3/x.csv?X-Amz-Signature=abc done", "https://s3/x.csv?", "abc"),
        ("Authorization: Bearer abcdefgh.ijk", "Bearer", "abcdefgh"),
        ("token eyJhbGciOi.eyJzdWIi.c2ln end", "end", "eyJ"),
        ("redis://h http://user:pw@host/p", "@host/p", "pw"),
        ("secret is s3cret", "secret is", "s3cret"),
    ],
)
def test_secrets_do_not_reach_the_log(text: str, kept: str, gone: str) -> None:
    said = redact(text, ["s3cret"])
    assert kept in said
    assert gone not in said
