"""ODS connections over HTTP: the secret goes in and never comes out; a check says what fails."""

import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from jobs.deliveries.outbound import GuardedHttp

SECRET = "a-well-kept-secret"


@dataclass
class EdFi:
    """An Ed-Fi API as small as can be; a test changes what it answers."""

    url: str = ""
    discovery: tuple[int, Any] = (200, {"version": "7.3"})
    redirects: bool = False
    seen: list[str] = field(default_factory=list)


@pytest.fixture
def ed_fi() -> Iterator[EdFi]:
    api = EdFi()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            api.seen.append(self.path)
            if api.redirects:
                self.send_response(302)
                self.send_header("Location", f"{api.url}/elsewhere")
                self.end_headers()
                return
            self._answer(*api.discovery)

        def do_POST(self) -> None:
            expected = b64encode(f"the-client:{SECRET}".encode()).decode()
            known = self.headers["Authorization"] == f"Basic {expected}"
            self._answer(200 if known else 401, {"access_token": "token"} if known else {})

        def _answer(self, status: int, document: Any) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    api.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield api
    server.shutdown()
    server.server_close()


def body(url: str, **changed: str) -> dict[str, str]:
    return {"url": url, "clientId": "the-client", "clientSecret": SECRET, **changed}


@pytest.fixture
def address(partner: str) -> str:
    return f"/partners/{partner}/tenants/t/ods/2027"


def test_a_connection_is_made_shown_and_retired_without_its_secret(
    ask: Any, partner: str, address: str, rows: Any
) -> None:
    made = ask("PUT", address, body("https://ods.example/api"))
    shown = {
        "tenant": "t",
        "schoolYear": "2027",
        "url": "https://ods.example/api",
        "tokenUrl": "https://ods.example/api/oauth/token",
        "clientId": "the-client",
    }
    assert (made.status_code, made.get_json()) == (201, shown)
    assert ask("GET", address, role="Viewer").get_json() == shown
    assert ask("GET", f"/partners/{partner}/ods").get_json() == [shown]
    told = "".join(ask("GET", path, role="Administrator").text for path in (f"/partners/{partner}", "/audit"))
    assert SECRET not in told + str(rows("SELECT * FROM ods"))
    assert ask("DELETE", address).status_code == 204
    assert ask("GET", address).status_code == ask("DELETE", address).status_code == 404


def test_a_secret_may_be_left_out_while_the_address_stays(ask: Any, address: str) -> None:
    ask("PUT", address, body("https://ods.example"))
    answer = ask("PUT", address, {"url": "https://ods.example", "clientId": "other"})
    assert (answer.status_code, answer.get_json()["clientId"]) == (200, "other")


@pytest.mark.parametrize(
    "changed",
    [{"url": "https://evil.example"}, {"url": "https://ods.example", "tokenUrl": "https://evil.example"}],
)
def test_a_stored_secret_never_goes_to_another_address(ask: Any, address: str, changed: Any) -> None:
    ask("PUT", address, body("https://ods.example"))
    answer = ask("PUT", address, {"clientId": "the-client", **changed})
    assert (answer.status_code, answer.get_json()["type"]) == (400, "/problems/credentials-missing")
    assert ask("GET", address).get_json()["tokenUrl"] == "https://ods.example/oauth/token"


def test_another_url_retires_the_connection_and_makes_a_new_one(
    ask: Any, partner: str, address: str, rows: Any
) -> None:
    ask("PUT", address, body("https://one.example"))
    assert ask("PUT", address, body("https://two.example")).status_code == 200
    kept = rows("SELECT url, retired_at IS NULL AS live FROM ods WHERE partner = :p ORDER BY id", p=partner)
    assert [tuple(each.values()) for each in kept] == [
        ("https://one.example", False),
        ("https://two.example", True),
    ]


@pytest.mark.parametrize(
    "url",
    ["ftp://x", "http://u:p@x", "http://", "http://x/?a=b", "http://x/#a", "http://x y", "http://x:0", 5],
)
def test_what_is_no_plain_url_is_refused(ask: Any, address: str, url: Any) -> None:
    answer = ask("PUT", address, body(url))
    assert answer.status_code == 400
    assert "url" in answer.get_json()["details"]


def test_a_connection_needs_a_tenant(ask: Any, partner: str) -> None:
    answer = ask("PUT", f"/partners/{partner}/tenants/nobody/ods/2027", body("https://ods.example"))
    assert (answer.status_code, answer.get_json()["type"]) == (400, "/problems/tenant-not-found")


def check(ask: Any, address: str, sent: dict[str, str]) -> dict[str, Any]:
    assert ask("PUT", address, sent).status_code < 300
    answer = ask("POST", f"{address}/check")
    assert answer.status_code == 200, answer.text
    assert SECRET not in answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def test_a_check_that_passes_names_the_version(ask: Any, address: str, ed_fi: EdFi, rows: Any) -> None:
    assert check(ask, address, body(ed_fi.url)) == {
        "passed": True,
        "steps": [
            {"step": "discovery", "url": ed_fi.url, "passed": True, "message": "Ed-Fi API 7.3"},
            {
                "step": "token",
                "url": f"{ed_fi.url}/oauth/token",
                "passed": True,
                "message": "a token was given",
            },
        ],
    }
    [noted] = rows("SELECT action, data FROM audit ORDER BY id DESC LIMIT 1")
    assert (noted["action"], noted["data"]["passed"]) == ("ods.checked", True)


def test_a_check_says_that_credentials_are_refused(ask: Any, address: str, ed_fi: EdFi) -> None:
    found = check(ask, address, body(ed_fi.url, clientSecret="wrong"))
    assert [step["passed"] for step in found["steps"]] == [True, False]
    assert found["steps"][1]["message"] == "the credentials are refused (401)"


@pytest.mark.parametrize(
    ("discovery", "message"),
    [
        ((404, {}), "it answered 404"),
        ((200, []), "it is no Ed-Fi API: its discovery document names no version"),
        ((200, {"version": "x" * 300_000}), "its answer does not end"),
    ],
)
def test_a_check_says_what_is_no_ed_fi_api(
    ask: Any, address: str, ed_fi: EdFi, discovery: Any, message: str
) -> None:
    ed_fi.discovery = discovery
    assert check(ask, address, body(ed_fi.url))["steps"][0]["message"] == message


def test_a_check_follows_no_redirect(ask: Any, address: str, ed_fi: EdFi) -> None:
    ed_fi.redirects = True
    assert check(ask, address, body(ed_fi.url))["steps"][0]["message"] == "it answered 302"
    assert ed_fi.seen == ["/"]


def test_a_check_says_that_nothing_answers(ask: Any, address: str) -> None:
    found = check(ask, address, body("http://127.0.0.1:9"))
    assert {step["message"] for step in found["steps"]} == {"it cannot be reached"}


def test_a_check_does_not_reach_into_our_network(
    ask: Any, address: str, ed_fi: EdFi, monkeypatch: Any, services: Any
) -> None:
    object.__setattr__(services, "outbound", GuardedHttp((), "ODS_ALLOWED_HOSTS", seconds=5))
    try:
        found = check(ask, address, body(ed_fi.url))
    finally:
        object.__setattr__(
            services, "outbound", GuardedHttp(("127.0.0.0/8",), "ODS_ALLOWED_HOSTS", seconds=5)
        )
    assert found["steps"][0]["message"].endswith("is inside our own network and not in ODS_ALLOWED_HOSTS")
    assert ed_fi.seen == []


def test_there_is_nothing_to_check_without_a_connection(ask: Any, address: str) -> None:
    assert ask("POST", f"{address}/check").status_code == 404
