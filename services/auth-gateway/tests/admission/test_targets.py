"""Request targets: one reading or none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3.util.url import _encode_target

from gateway import targets


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/jobs/../admin",
        "/api/v1/./jobs",
        "/..",
        "/api/v1/jobs/..",
        "/api/%2e%2e/internal",
        "/api/v1/jobs/.%2E/x",
        "/api%2fv1/jobs",
        "/api/v1/jobs%2F..",
        "/api/v1/jobs%5c..%5cadmin",
        "/api\\v1",
        "//internal",
        "/api//v1/jobs",
        "/api/v1/jobs//",
        "/api/v1/jobs;x=1",
        "/api/v1;/jobs",
        "/a%00b",
        "/a%0d%0ab",
        "/a%7f",
        "/a%252e",
        "/a b",
        "/a\x00b",
        "/a\r\nb",
        "/\x7f",
        "/caf\xe9",
        "/a%",
        "/a%2",
        "/a%zz",
        "/a#b",
        "/a|b",
        "http://internal/api/v1/jobs",
        "https://x/",
        "*",
        "",
        "api/v1/jobs",
        "internal:80",
        "/a?x=%zz",
        "/a?x=\x00",
        "/a?x= y",
        "/a?\xe9",
    ],
)
def test_a_target_that_two_parsers_could_read_differently_is_refused(target: str) -> None:
    with pytest.raises(targets.UnsafeTarget):
        targets.parse(target)


@pytest.mark.parametrize(
    ("raw", "path", "full"),
    [
        ("/", "/", "/"),
        ("/api/v1/jobs/", "/api/v1/jobs/", "/api/v1/jobs/"),
        ("/api/v1/%6Aobs?a=1", "/api/v1/jobs", "/api/v1/jobs?a=1"),
        ("/state/a%3ab", "/state/a%3Ab", "/state/a%3Ab"),
        ("/state/%C3%a9", "/state/%C3%A9", "/state/%C3%A9"),
        ("/x/v1.2...3", "/x/v1.2...3", "/x/v1.2...3"),
        ("/x?", "/x", "/x?"),
        ("/x?a=../..//%2e;b", "/x", "/x?a=../..//%2E;b"),
        ('/x?a=[1]|{"b"}', "/x", "/x?a=%5B1%5D%7C%7B%22b%22%7D"),
    ],
)
def test_a_safe_target_has_one_normal_form(raw: str, path: str, full: str) -> None:
    assert targets.parse(raw) == targets.Target(path=path, full=full)


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=60).map(lambda text: "/" + text))
def test_whatever_passes_is_stable_safe_and_left_alone_by_the_http_client(raw: str) -> None:
    try:
        target = targets.parse(raw)
    except targets.UnsafeTarget:
        return
    assert targets.parse(target.full) == target
    assert _encode_target(target.full) == target.full
    assert not {"", ".", ".."} & set(target.path.strip("/").split("/")) or target.path == "/"
    assert "%2F" not in target.path
    assert "%2E" not in target.path
