"""The identity that the gateway tells services of: spoofed, forged, stale, replayed, stripped."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
import urllib3
from attacking import Lane, answer_of
from doors import HTTP, Worked
from driving import Client

from common.principal import FRESH_SECONDS, SIGNATURE, Principal, service, signed_headers
from common.settings import keyring
from stack.testing import LocalStack

ACME = Principal(
    kind="client",
    subject="acme-api",
    client_id="acme-api",
    scopes=frozenset({"create:jobs", "read:jobs", "read:jobs:output-files"}),
    partners=frozenset({"ea", "acme"}),
    roles=frozenset({"Administrator"}),
)
JOBS, SETS = "/api/v1/jobs?partner=acme", "/api/v1/output-sets?partner=acme"
RUN_KEYS = "/internal/run-keys"
SPELLINGS = (
    "x-auth-{}",
    "X-Auth-{}",
    "X-AUTH-{}",
    "x_auth_{}",
    "X_Auth_{}",
    "X_AUTH_{}",
    "X-Auth_{}",
    "X_auth-{}",
    "x--auth-{}",
    "HTTP_X_AUTH_{}",
    "HTTP-X-Auth-{}",
    "X-Auth-{} ",
    " X-Auth-{}",
    "X-Auth-{}\t",
    "\tX-Auth-{}",
    "Connection: X-Auth-{}\r\nX-Auth-{}",
    "X-Other: a\r\n X-Auth-{}",
    "X-Other: a\nX-Auth-{}",
    "X-Other: a\rX-Auth-{}",
    "X-Auth-{}\0",
    "X-Auth-{}: \r\nX-Auth-{}",
    "X-Auth\x0b-{}",
)


@pytest.fixture(scope="module")
def worked(ea: Client) -> Iterator[Worked]:
    run = Worked(ea)
    yield run
    run.end()


class Port:
    """A service's own port, and the key with which the gateway would sign for it."""

    def __init__(self, stack: LocalStack, name: str) -> None:
        self.number = stack.port(name)
        self.keys = keyring(stack.stack.secrets.read(f"signing-key-{name}-from-gateway"))

    def signed(
        self, target: str, *, method: str = "GET", at: int = 0, who: Principal = ACME
    ) -> dict[str, str]:
        return signed_headers(who, method, target, self.keys, int(time.time()) + at)

    def ask(
        self, headers: Mapping[str, str] | urllib3.HTTPHeaderDict, target: str, method: str = "GET"
    ) -> urllib3.BaseHTTPResponse:
        url = f"http://127.0.0.1:{self.number}{target}"
        return HTTP.request(method, url, headers=headers, redirect=False)


@pytest.fixture(scope="module")
def jobs(system: LocalStack) -> Port:
    return Port(system, "jobs")


@pytest.fixture(scope="module")
def outputs(system: LocalStack) -> Port:
    return Port(system, "outputs")


@pytest.mark.parametrize("spelling", SPELLINGS, ids=repr)
@pytest.mark.parametrize("target", [JOBS, SETS])
def test_no_spelling_of_an_identity_header_reaches_a_service(
    lane: Lane, ea: Client, jobs: Port, outputs: Port, spelling: str, target: str
) -> None:
    """Even signed with a service's own key: what is sent is never what is believed."""
    port = jobs if target == JOBS else outputs
    spoofed = {name.removeprefix("x-auth-"): value for name, value in port.signed(target).items()}
    lines = [f"{spelling.replace('{}', name)}: {value}\r\n" for name, value in spoofed.items()]
    head = f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {ea.token}\r\n"
    for sent in (lines, [*lines, *lines], [line.upper() for line in lines]):
        answer = lane.raw(f"{head}{''.join(sent)}\r\n".encode("latin-1"))
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 404")), answer


def test_spoofed_headers_change_nothing_of_who_the_caller_is(lane: Lane, ea: Client) -> None:
    plain = {"X-Auth-Partners": "acme", "X-Auth-Roles": "Administrator", "X-Auth-Kind": "service"}
    spoofed = {**plain, "X-Forwarded-User": "root", "X-Original-Url": RUN_KEYS, "X-Rewrite-Url": RUN_KEYS}
    for target, status in (("/api/v1/jobs?partner=ea", 200), (JOBS, 404), ("/api/v1/admin/partners", 403)):
        assert lane.ask(ea.token, target, **spoofed).status == status


def test_without_a_token_a_signature_opens_nothing(lane: Lane, jobs: Port) -> None:
    for target in (JOBS, RUN_KEYS, "/api/v1/admin/partners"):
        answer = HTTP.request("GET", lane.url + target, headers=jobs.signed(target))
        assert answer.status in (401, 404)


def test_a_service_believes_what_the_gateway_signed(jobs: Port, outputs: Port) -> None:
    """What the tests after this one change a little."""
    assert jobs.ask(jobs.signed(JOBS), JOBS).status == 200
    assert outputs.ask(outputs.signed(SETS), SETS).status == 200


def test_a_services_port_knows_no_bearer_token_and_no_headers_without_a_signature(
    jobs: Port, outputs: Port, acme: Client
) -> None:
    for port, target in ((jobs, JOBS), (outputs, SETS)):
        unsigned = {name: value for name, value in port.signed(target).items() if name != SIGNATURE}
        for headers in ({}, unsigned, {"Authorization": f"Bearer {acme.token}"}):
            assert port.ask(headers, target).status == 401


@pytest.mark.parametrize("at", [-FRESH_SECONDS - 2, -3600, FRESH_SECONDS + 3, 3600])
def test_a_signed_request_is_not_replayed_after_its_30_seconds_nor_kept_for_later(
    jobs: Port, at: int
) -> None:
    """It may be a call that waited at a busy door: try again, says the service, and believes nothing."""
    assert jobs.ask(jobs.signed(JOBS, at=at), JOBS).status == 503


@pytest.mark.parametrize("stamp", ["9" * 400, "-1", "1e9", "", "inf", "0x7fffffff", "\u0661", " ", "1_0"])
def test_a_stamp_that_is_none_is_refused(jobs: Port, stamp: str) -> None:
    signature = f"t={stamp},k={next(iter(jobs.keys))},s={'0' * 64}".encode()
    head = f"GET {JOBS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Auth-Kind: client\r\n".encode()
    answer = answer_of(jobs.number, head + b"X-Auth-Signature: " + signature + b"\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 401", b"HTTP/1.1 400"))


def test_a_signed_request_is_not_replayed_against_another_service(jobs: Port, outputs: Port) -> None:
    for source, receiver in ((jobs, outputs), (outputs, jobs)):
        for target in (JOBS, SETS, "/internal/school-years", RUN_KEYS):
            assert receiver.ask(source.signed(target), target).status in (401, 404, 405)
        assert receiver.ask(source.signed(SETS), SETS).status in (401, 404)
    assert outputs.ask(jobs.signed(SETS), SETS).status == 401
    assert jobs.ask(outputs.signed(JOBS), JOBS).status == 401


def test_a_signed_request_is_not_replayed_as_another(jobs: Port) -> None:
    signed = jobs.signed(JOBS)
    for target, method in (
        *((JOBS, "POST"), (JOBS, "HEAD"), (f"{JOBS}&limit=1", "GET"), ("/api/v1/jobs", "GET")),
        *(("/api/v1/jobs?partner=ea", "GET"), ("/api/v1/jobs/?partner=acme", "GET"), (RUN_KEYS, "GET")),
    ):
        assert jobs.ask(signed, target, method).status == 401


@pytest.mark.parametrize("name", ["kind", "subject", "client-id", "scopes", "partners", "roles"])
def test_a_header_stripped_or_changed_or_repeated_breaks_the_signature(jobs: Port, name: str) -> None:
    signed = jobs.signed(JOBS)
    stripped = {each: value for each, value in signed.items() if each != f"x-auth-{name}"}
    changed = {**signed, f"x-auth-{name}": signed[f"x-auth-{name}"] + "x"}
    repeated = urllib3.HTTPHeaderDict(signed)
    repeated.add(f"X-Auth-{name.title()}", signed[f"x-auth-{name}"])
    for headers in (stripped, changed, repeated):
        assert jobs.ask(headers, JOBS).status in (400, 401)


def test_a_header_added_breaks_the_signature(jobs: Port) -> None:
    signed = jobs.signed(JOBS, who=replace(ACME, roles=frozenset()))
    for added in ({"X-Auth-Roles": "Administrator"}, {"X-Auth-Anything": ""}, {"X-Auth-Lease": "1"}):
        assert jobs.ask({**signed, **added}, JOBS).status == 401


@pytest.mark.parametrize(
    "signature", ["", "s=", "t=1,k=,s=", "{t},k=nobody,s={s}", "{t},{k},s=", "{t},{k},s=é"]
)
def test_a_forged_signature_is_refused(jobs: Port, signature: str) -> None:
    signed = jobs.signed(JOBS)
    t, k, s = signed[SIGNATURE].split(",")
    forged = signature.format(t=t, k=k, s=s.removeprefix("s="))
    answer = jobs.ask({**signed, SIGNATURE: forged}, JOBS)
    assert answer.status == 401


def test_internal_operations_admit_services_only(jobs: Port, outputs: Port) -> None:
    """A client's identity, well signed, does not open them; nor does another service's key."""
    outcome = f"/internal/runs/{'0' * 8}-0000-4000-8000-{'0' * 12}/outcome"
    for port, target, method in ((jobs, RUN_KEYS, "GET"), (outputs, outcome, "PUT")):
        assert port.ask(port.signed(target, method=method), target, method).status == 403
    assert jobs.ask(jobs.signed(RUN_KEYS, who=service("anybody")), RUN_KEYS).status == 200
    assert jobs.ask(outputs.signed(RUN_KEYS, who=service("outputs")), RUN_KEYS).status == 401


@pytest.mark.parametrize("kind", ["service", "run", "api-key"])
def test_a_client_is_no_other_kind_of_caller(lane: Lane, ea: Client, worked: Worked, kind: str) -> None:
    spoofed = {
        "X-Auth-Kind": kind,
        "X-Auth-Run": worked.run,
        "X-Auth-Lease": "1",
        "X-Auth-Scopes": "run:work",
    }
    assert lane.ask(ea.token, f"/sdk/v1/runs/{worked.run}/payload", **spoofed).status == 403
