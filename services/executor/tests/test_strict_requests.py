"""An ODS's secret goes to the scheme it was given for and no other."""

from typing import Any

import pytest

from executor.strict_requests import SchemeChanged, StrictRequests


class FakeRequests:
    """Remembers what was called."""

    def __init__(self) -> None:
        self.called: list[tuple[str, dict[str, Any]]] = []

    def get(self, url: str, **options: Any) -> None:
        self.called.append((url, options))

    post = get


def test_the_secret_of_an_ods_is_never_sent_over_another_scheme() -> None:
    fake = FakeRequests()
    strict = StrictRequests(fake)
    strict.get("https://ods/")
    with pytest.raises(SchemeChanged):
        strict.post("http://ods/oauth/token", auth=("client", "secret"))
    [(url, options)] = fake.called
    assert url == "https://ods/"
    assert options == {"timeout": (5, 60), "allow_redirects": False}
