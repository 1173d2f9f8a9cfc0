"""A headless Chromium, led through chromedriver's WebDriver interface (https://www.w3.org/TR/webdriver2/)."""

import base64
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3

from stack.ports import free_port

CHROMIUM, CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--window-size=1280,1600",
)  # fmt: skip
PATIENCE_SECONDS = 20


class Browser:
    """One window. Elements are named by CSS selectors."""

    def __init__(self, driver: str, profile: Path) -> None:
        self._http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=3, read=30))
        self._session = driver
        options = {"binary": CHROMIUM, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"{driver}/session/{made['sessionId']}"

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._http.request(method, self._session + path, json=body if method == "POST" else None)
        value = answer.json()["value"]
        if answer.status != 200:
            raise AssertionError(f"{value['error']}: {value['message']}")
        return value

    def open(self, url: str) -> None:
        self._call("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page and return what it returns."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def texts(self, selector: str) -> list[str]:
        """Read what is to be seen in every element that fits."""
        script = "return [...document.querySelectorAll(arguments[0])].map(each => each.innerText)"
        found: list[str] = self.run(script, selector)
        return found

    def count(self, selector: str) -> int:
        return int(self.run("return document.querySelectorAll(arguments[0]).length", selector))

    def click(self, selector: str) -> None:
        self._call("POST", f"/element/{self._element(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        self._call("POST", f"/element/{self._element(selector)}/value", {"text": text})

    def _element(self, selector: str) -> str:
        self.wait(lambda: self.count(selector) > 0, f"there is no {selector}")
        found = self._call("POST", "/element", {"using": "css selector", "value": selector})
        return str(next(iter(found.values())))

    def wait(self, reached: Callable[[], bool], otherwise: str) -> None:
        """Wait until the page is as wanted."""
        until = time.monotonic() + PATIENCE_SECONDS
        while not reached():
            if time.monotonic() > until:
                raise AssertionError(otherwise)
            time.sleep(0.05)

    def complaints(self) -> list[str]:
        """What the console complains of: errors, refused scripts, what did not load."""
        entries = self._call("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def picture(self) -> bytes:
        return base64.b64decode(self._call("GET", "/screenshot"))

    def close(self) -> None:
        self._call("DELETE", "")


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Start chromedriver and a browser with an empty profile in `folder`; stop both afterwards."""
    port = free_port()
    with (folder / "chromedriver.log").open("wb") as log:
        driver = subprocess.Popen([str(CHROMEDRIVER), f"--port={port}"], stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_until_ready(address)
        window = Browser(address, folder / "profile")
        try:
            yield window
        finally:
            window.close()
    finally:
        driver.terminate()
        driver.wait(10)


def _wait_until_ready(address: str) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            urllib3.request("GET", f"{address}/status", timeout=2, retries=False)
            return
        except urllib3.exceptions.HTTPError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
