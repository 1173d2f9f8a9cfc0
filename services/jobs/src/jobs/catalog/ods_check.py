"""Try an ODS connection: its discovery document, then a token. What is wrong is said, step by step."""

import json
from base64 import b64encode
from dataclasses import dataclass
from urllib.parse import urlencode

from jobs.catalog.tables import Ods
from jobs.deliveries.outbound import Answer, Outbound, OutboundFailed, OutboundRefused

SECONDS = 5.0  # for each call


@dataclass(frozen=True, kw_only=True)
class Step:
    """One call and how it went. `said` holds no secret and nothing of the answer but a version."""

    name: str
    url: str
    passed: bool
    said: str


def check(ods: Ods, outbound: Outbound) -> list[Step]:
    """Make both calls with the connection's own credentials, its secret open."""
    return [_discovery(ods, outbound), _token(ods, outbound)]


def _discovery(ods: Ods, outbound: Outbound) -> Step:
    answer, fault = _call(outbound, "GET", ods.url)
    if answer is not None and answer.status != 200:
        fault = f"it answered {answer.status}"
    found = _object(answer)
    version = found.get("version") if found else None
    if not fault and not isinstance(version, str):
        fault = "it is no Ed-Fi API: its discovery document names no version"
    return _step("discovery", ods.url, fault, f"Ed-Fi API {str(version)[:20]}")


def _token(ods: Ods, outbound: Outbound) -> Step:
    basic = b64encode(f"{ods.client_id}:{ods.client_secret}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
    form = urlencode({"grant_type": "client_credentials"})
    answer, fault = _call(outbound, "POST", ods.token_url, headers=headers, body=form)
    if answer is not None and answer.status in (400, 401, 403):
        fault = f"the credentials are refused ({answer.status})"
    elif answer is not None and answer.status != 200:
        fault = f"it answered {answer.status}"
    found = _object(answer)
    if not fault and not (found and isinstance(found.get("access_token"), str)):
        fault = "its answer holds no access token"
    return _step("token", ods.token_url, fault, "a token was given")


def _call(
    outbound: Outbound,
    method: str,
    url: str,
    *,
    headers: dict[str, str] | None = None,
    body: str | None = None,
) -> tuple[Answer | None, str]:
    try:
        return outbound.send(
            method, url, headers={"Accept": "application/json", **(headers or {})}, body=body
        ), ""
    except (OutboundRefused, OutboundFailed) as error:
        return None, str(error)


def _object(answer: Answer | None) -> dict[str, object] | None:
    try:
        found = json.loads(answer.body) if answer is not None else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _step(name: str, url: str, fault: str, success: str) -> Step:
    return Step(name=name, url=url, passed=not fault, said=fault or success)
