"""The page at /api, as a person uses it."""

import json

from browsing import Browser
from driving import Client

from stack.testing import LocalStack

VERIFY = "#operations-Token-verifyToken"


def authorise(window: Browser, token: str) -> None:
    window.click("button.authorize")
    window.type(".auth-container input", token)
    window.click(".auth-btn-wrapper button.authorize")
    window.click(".auth-btn-wrapper button.btn-done")


def execute(window: Browser, operation: str) -> None:
    window.click(f"{operation} .opblock-summary-control")
    window.click(f"{operation} button.execute")


def live_answer(window: Browser, operation: str) -> tuple[str, str]:
    """The status and body of the answer that came."""
    table = f"{operation} .live-responses-table"
    status = f"{table} .response-col_status"
    window.wait(lambda: window.count(status) > 1, "no answer came")
    return window.texts(status)[-1].strip(), window.texts(f"{table} .highlight-code code")[0]


def test_a_token_entered_on_the_page_opens_the_api(system: LocalStack, ea: Client, window: Browser) -> None:
    window.open(f"{system.gateway_url}/api")
    authorise(window, ea.token)
    execute(window, VERIFY)
    status, body = live_answer(window, VERIFY)
    assert status.split()[0] == "200"
    assert json.loads(body)["partners"] == ["ea"]
    assert window.complaints() == []


def test_without_a_token_the_page_shows_the_problem(system: LocalStack, window: Browser) -> None:
    window.open(f"{system.gateway_url}/api/")
    execute(window, VERIFY)
    status, body = live_answer(window, VERIFY)
    assert status.split()[0] == "401"
    assert json.loads(body)["detail"] == "No token"


def test_every_public_operation_is_on_the_page(system: LocalStack, ea: Client, window: Browser) -> None:
    window.open(f"{system.gateway_url}/api")
    document = ea.call("GET", "/api/openapi.json")
    count = sum(len(item) for item in document["paths"].values())
    window.wait(lambda: window.count(".opblock") == count, f"there are not {count} operations")
    assert document["servers"] == [{"url": system.gateway_url}]


def test_the_page_runs_no_script_but_its_own(system: LocalStack, window: Browser) -> None:
    window.open(f"{system.gateway_url}/api")
    window.run(
        "const s = document.createElement('script'); s.text = 'window.ran = 1'; document.head.append(s)"
    )
    assert window.run("return window.ran === undefined")
