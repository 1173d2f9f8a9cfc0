"""Laws over every operation of every OpenAPI document, at the gateway and at the service's own port."""

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from doors import (
    Call,
    Door,
    Gateway,
    Port,
    Worked,
    call_of,
    require_no_fault_of_ours,
    require_oauth_error,
    require_problem,
)
from driving import Client
from operations import METHODS, SOME_UID, Operation, operations
from urllib3 import BaseHTTPResponse

from common.principal import Principal
from stack.testing import LocalStack

ALL = operations()
PUBLIC = [each for each in ALL if not each.is_internal]
GUARDED = [each for each in PUBLIC if not each.is_open]
INTERNAL = [each for each in ALL if each.is_internal]
TAKING = [each for each in ALL if each.method in ("POST", "PUT", "PATCH")]
EXTERNAL_SCOPES = frozenset({"create:jobs", "read:jobs", "read:jobs:output-files"})
NOT_JSON = (
    b"{",
    b'{"a": NaN}',
    b'{"a": "\xed\xa0\x80"}',
    b"\xff\xfe",
    b"[" * 50_000,
    b'{"a": 1' + b"0" * 9999,
)
WRONG_TYPES = (b"[]", b'"text"', b"5", b"true", b"null")
WRONG_MEMBERS: tuple[Any, ...] = (None, 5, math.inf, "text", ["text"], {"text": "text"}, [[[]]])
BAD_SEGMENTS = ("%00", "%ED%A0%80", "%F0%9F%98%80", "x" * 3000, "-1", "%27%3B--")


@pytest.fixture(scope="module")
def worked(ea: Client) -> Iterator[Worked]:
    run = Worked(ea)
    yield run
    run.end()


@pytest.fixture(scope="module")
def gateway(system: LocalStack, ea: Client, worked: Worked) -> Gateway:
    administrator = Client(system.gateway_url, system.issuer_url, "taxiway-admin", "admin-secret-123", "")
    return Gateway(
        url=system.gateway_url,
        powerless=ea.narrowed("partner:ea"),
        client=ea.token,
        administrator=administrator.token,
        worked=worked,
    )


@pytest.fixture(scope="module")
def port(system: LocalStack, worked: Worked) -> Port:
    able = Principal(
        kind="client",
        subject="tests",
        client_id="tests",
        scopes=EXTERNAL_SCOPES,
        partners=frozenset({"ea"}),
        roles=frozenset({"Administrator"}),
    )
    return Port(stack=system, able=able, worked=worked)


@pytest.fixture(scope="module", params=["gateway", "port"])
def door(request: pytest.FixtureRequest, gateway: Gateway, port: Port) -> Door:
    return gateway if request.param == "gateway" else port


def every(operations: list[Operation]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("operation", operations, ids=str)


def belongs(operation: Operation, door: Door) -> bool:
    """Whether the operation can be asked there: at its own port always, through the gateway if public.

    The gateway's own port is the gateway.
    """
    return operation.service != "gateway" if isinstance(door, Port) else not operation.is_internal


@every(GUARDED + INTERNAL)
def test_nobody_gets_in_without_a_token(operation: Operation, door: Door) -> None:
    if belongs(operation, door):
        answer = door.as_nobody(call_of(operation))
        require_problem(answer, 401)
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="')


@every(GUARDED + INTERNAL)
def test_nobody_gets_in_without_a_scope(operation: Operation, door: Door) -> None:
    if belongs(operation, door):
        problem = require_problem(door.as_powerless(call_of(operation)), 403)
        assert problem["error"] == "forbidden"


@every([each for each in ALL if each.is_open])
def test_an_open_operation_asks_for_no_token(operation: Operation, door: Door) -> None:
    answer = door.as_nobody(call_of(operation))
    assert operation.is_token_endpoint or answer.status == 200
    if operation.is_token_endpoint:
        require_oauth_error(answer)


@every(INTERNAL)
def test_an_internal_operation_is_nowhere_for_the_public(operation: Operation, gateway: Gateway) -> None:
    for call in (gateway.as_nobody, gateway.as_able):
        require_problem(call(call_of(operation)), 404)


@pytest.mark.parametrize("template", sorted({(each.service, each.template) for each in ALL}))
def test_a_wrong_method_is_a_405_that_names_the_right_ones(template: tuple[str, str], door: Door) -> None:
    same = [each for each in ALL if (each.service, each.template) == template]
    known = {each.method for each in same}
    if belongs(same[0], door):
        for method in sorted(set(METHODS) - known):
            answer = door.as_able(call_of(same[0], method=method))
            require_problem(answer, 405)
            allowed = set(answer.headers["Allow"].split(", "))
            assert known <= allowed
            assert method not in allowed


@pytest.mark.parametrize("path", ["/nowhere", "/api/v1/nowhere", "/api/v1/jobs/a/b/c/d", "/sdk/v1/nowhere"])
def test_an_unknown_path_is_a_404(door: Door, path: str) -> None:
    require_problem(door.as_able(Call(service="jobs", method="GET", target=path)), 404)


@every(GUARDED)
def test_a_trailing_slash_makes_no_difference(operation: Operation, door: Door) -> None:
    if belongs(operation, door):
        require_problem(door.as_powerless(call_of(operation, target=operation.path() + "/")), 403)


@every([each for each in PUBLIC if each.method == "GET"])
def test_head_answers_as_get_does_without_a_body(operation: Operation, door: Door) -> None:
    if belongs(operation, door):
        target = operation.path() + ("?partner=ea" if "partner" in operation.queries else "")
        got = door.as_able(call_of(operation, target=target))
        head = door.as_able(call_of(operation, method="HEAD", target=target))
        assert (head.status, head.data) == (got.status, b"")


@every(TAKING)
def test_a_body_that_is_not_json_is_a_400(operation: Operation, door: Door) -> None:
    for answer in answers(operation, door, NOT_JSON):
        assert answer.status == 400 or not operation.needs_body


@every(TAKING)
def test_a_body_of_the_wrong_type_is_refused(operation: Operation, door: Door) -> None:
    for answer in answers(operation, door, WRONG_TYPES):
        assert answer.status in (400, 422) or not operation.needs_body


@every([each for each in TAKING if isinstance(each.body, dict)])
def test_a_member_of_the_wrong_type_is_never_our_fault(operation: Operation, door: Door) -> None:
    bodies = ({**operation.body, name: value} for name in operation.body for value in WRONG_MEMBERS)
    answers(operation, door, [json.dumps(body).encode() for body in bodies])


@every([each for each in TAKING if each.body is not None and "school-years" not in each.template])
def test_what_cannot_be_stored_is_never_our_fault(operation: Operation, door: Door) -> None:
    texts = [json.dumps(poisoned(operation.body, poison)) for poison in ("\0", "\ud800")]
    number = json.dumps(poisoned(operation.body, "number")).replace('"number"', "1e400")
    answers(operation, door, [text.encode() for text in (*texts, number)])


def answers(operation: Operation, door: Door, contents: Iterable[bytes]) -> list[BaseHTTPResponse]:
    """Send each content and fail on any fault of ours; a run that came to its end is replaced by another."""
    if not belongs(operation, door) or (needs_ticket(operation) and isinstance(door, Gateway)):
        return []
    run = door.worked.run
    target = operation.path(run_id=run, run=run)
    calls = [
        Call(service=operation.service, method=operation.method, target=target, content=content)
        for content in contents
    ]
    found = [door.as_able(call) for call in calls]
    if operation.template.endswith(("/complete", "/fail")):
        door.worked.renew()
    for answer in found:
        require_no_fault_of_ours(answer)
    return found


def needs_ticket(operation: Operation) -> bool:
    """Whether only the ticket of a turn opens it, which no caller of the External API ever holds."""
    return operation.template.endswith("/claim")


def poisoned(value: Any, poison: str) -> Any:
    """Put a text everywhere a text may stand, free objects included."""
    if isinstance(value, str):
        return poison
    if isinstance(value, list):
        return [poisoned(each, poison) for each in value]
    if isinstance(value, dict):
        return {name: poisoned(each, poison) for name, each in value.items()} or {"text": poison}
    return value


@every([each for each in ALL if each.names])
def test_a_nonsensical_path_is_never_our_fault(operation: Operation, door: Door) -> None:
    if belongs(operation, door):
        for name in operation.names:
            for segment in BAD_SEGMENTS:
                answer = door.as_able(call_of(operation, target=operation.path(**{name: segment})))
                require_no_fault_of_ours(answer)
                assert answer.status >= 400


@every([each for each in ALL if each.queries])
def test_a_nonsensical_query_is_never_our_fault(operation: Operation, door: Door) -> None:
    for name in operation.queries if belongs(operation, door) else ():
        for value in ("", *BAD_SEGMENTS, "9" * 30, f"a&{name}=b", SOME_UID):
            others = "" if name == "partner" else "partner=ea&"
            target = f"{operation.path()}?{others}{name}={value}"
            require_no_fault_of_ours(door.as_able(call_of(operation, target=target)))
