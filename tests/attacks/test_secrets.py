"""Where secrets must not be: in logs, process lists, tables, answers, and files that others may read."""

import ast
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest
import urllib3
from driving import Client, Refused, client_of

from stack.secrets import SERVICES, SUPERUSER
from stack.testing import LocalStack

EXAMPLE_SECRETS = ("api-secret-123", "acme-secret-123", "admin-secret-123")
WRONG = "a-wrong-secret-somebody-mistyped"
ODS = {"url": "http://127.0.0.1:9", "clientId": "leaky-ods", "clientSecret": "ods-secret-nobody-may-read"}
PLACE = "/api/v1/admin/partners/leaky"
SOURCES = [*Path("services").glob("*/src"), *Path("libs").glob("*/src")]
SECRET_NAMES = re.compile("secret|signature|digest|password|hmac|api_key|token_hash", re.IGNORECASE)
KEPT_NAMES = re.compile("sha256|secret_hash", re.IGNORECASE)  # what we keep, compared with what we keep


@pytest.fixture(scope="module")
def used(system: LocalStack, administrator: Client) -> Iterator[Mapping[str, str]]:
    """Every secret of a run of everything: of the stack, of clients, of what was made, of what went wrong."""
    ea = client_of(system)
    made = ea.create("tests/echo", {"INPUT_FILE": "input.csv"})
    upload = made["uploadUrls"]["INPUT_FILE"]
    ea.upload(upload, b"one\n")
    hook = {"partner": "ea", "url": "http://127.0.0.1:9/hook", "events": ["run.completed"]}
    webhook = ea.call("POST", "/v1/webhooks", hook)
    started = ea.call("POST", f"/api/v1/jobs/{made['uid']}/start", {"executor": "caller"})
    run = f"/sdk/v1/runs/{started['runUid']}"
    payload = as_run(system, started["runToken"], "GET", f"{run}/payload").json()
    as_run(system, started["runToken"], "POST", f"{run}/fail")
    finished = ea.submit("tests/echo", b"one\n")
    [output_set] = ea.wait_completed(finished)["runs"][0]["outputSets"]
    links = ea.call("POST", f"/api/v1/output-sets/{output_set}/download-links")["downloadLinks"]
    administrator.call("PUT", PLACE, {"name": "Leaky", "tenants": [{"code": "leaky"}]})
    administrator.call("PUT", f"{PLACE}/school-years/2026", {})
    administrator.call("PUT", f"{PLACE}/tenants/leaky/ods/2026", ODS)
    administrator.call("POST", f"{PLACE}/tenants/leaky/ods/2026/check")
    app = administrator.call("POST", "/api/v1/apps", {"name": "leaky-app"})
    key = ea.call("POST", "/api/v1/keys", {"name": "leaky", "scopes": ["read"]})["data"]
    ea.send("GET", "/api/v1/jobs?partner=ea", Authorization=f"Bearer {key['token']}")
    mistaken(system, ea)
    yield {
        **{f"file {name}": value for name, value in of_the_stack(system).items()},
        **dict(zip(EXAMPLE_SECRETS, EXAMPLE_SECRETS, strict=True)),
        "token": ea.token.rpartition(".")[2],
        "administrator's token": administrator.token.rpartition(".")[2],
        "run token": started["runToken"].rpartition(".")[2],
        "upload": signature_of(upload),
        "input": signature_of(str(payload)),
        "download": signature_of(next(iter(links.values()))),
        "webhook": webhook["secret"].removeprefix("whsec_"),
        "app": app["secret"],
        "key": key["token"],
        "ods": ODS["clientSecret"],
        "wrong": WRONG,
    }
    ea.send("DELETE", f"/v1/webhooks/{webhook['id']}")
    ea.send("DELETE", f"/api/v1/keys/{key['api_key']['id']}")
    administrator.send("DELETE", f"/api/v1/apps/{app['id']}")


def as_run(system: LocalStack, token: str, method: str, path: str) -> urllib3.BaseHTTPResponse:
    headers = {"Authorization": f"Bearer {token}"}
    body = {"error": f"it failed with {token}", "retryable": False} if method == "POST" else None
    return urllib3.request(method, system.gateway_url + path, headers=headers, json=body)


def mistaken(system: LocalStack, ea: Client) -> None:
    """Send secrets where they do not belong, as people do."""
    with pytest.raises((Refused, KeyError)):
        Client(system.gateway_url, system.issuer_url, "runway-api", WRONG, "ea")
    for headers in (
        {"Authorization": f"Bearer {WRONG}"},
        {"Authorization": f"Basic {WRONG}"},
        {"X-Auth-Kind": WRONG},
    ):
        ea.send("GET", "/api/v1/jobs?partner=ea", **headers)
    ea.send("GET", f"/api/v1/jobs?partner=ea&access_token={ea.token}&api_key={WRONG}")
    urllib3.request("GET", f"{system.s3_url}/jobs/nothing?X-Amz-Signature={WRONG}")


def signature_of(url: str) -> str:
    """The part of a signed URL that opens it."""
    found = re.search("X-Amz-Signature=([0-9a-f]{64})", url)
    assert found
    return found[1]


def of_the_stack(system: LocalStack) -> Mapping[str, str]:
    """The secret words of the stack's own files; of a named key the key, and passwords instead of URLs."""
    found = {}
    for path in system.stack.secrets.folder.iterdir():
        if (
            not path.name.startswith(("database-url", "redis-url", "s3-access-key"))
            and path.name != "example-ods-client-id"
        ):
            text = path.read_text(encoding="utf-8").strip()
            for number, word in enumerate(text.split("\n")[1:-1] or text.split()):
                found[f"{path.name} {number}"] = word.rpartition(":")[2]
    return found


def test_no_log_holds_a_secret(system: LocalStack, used: Mapping[str, str]) -> None:
    logs = [path for path in system.folder("logs").rglob("*") if path.is_file()]
    logs += system.folder("supervisor").glob("*.log")
    assert {"gateway.log", "jobs.log", "courier.log", "postgres.log", "seaweed.log"} <= {
        each.name for each in logs
    }
    for log in logs:
        text = log.read_text(encoding="utf-8", errors="replace")
        assert [name for name, value in used.items() if value in text or quote(value) in text] == [], log.name


def test_no_process_shows_a_secret_on_its_command_line_or_in_its_environment(
    system: LocalStack, used: Mapping[str, str]
) -> None:
    root, seen = str(system.stack.layout.root), 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = b"\n".join((folder / name).read_bytes() for name in ("cmdline", "environ")).decode(
                errors="replace"
            )
        except OSError:  # it ended, or is somebody else's
            continue
        if root in text:
            seen += 1
            assert [name for name, value in used.items() if value in text] == [], text
    assert seen > 10


def test_files_of_secrets_are_their_owners_alone(system: LocalStack) -> None:
    for name in ("secrets", "logs", "supervisor", "valkey", "seaweed", "work", "tmp"):
        assert stat.S_IMODE(system.folder(name).stat().st_mode) == 0o700, name
    for path in system.stack.secrets.folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


def test_no_table_holds_a_secret_in_the_clear(system: LocalStack, used: Mapping[str, str]) -> None:
    """Every row of every table, as text: what a stolen backup shows."""
    with closing(psycopg2.connect(dsn(system))) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY (%s)", (list(SERVICES),)
        )
        tables = cursor.fetchall()
        assert ("gateway", "client_application") in tables
        for schema, table in tables:
            cursor.execute(
                f'SELECT coalesce(string_agg(t::text, chr(10)), \'\') FROM "{schema}"."{table}" AS t'
            )
            [[rows]] = cursor.fetchall()
            assert [name for name, value in used.items() if value in rows] == [], table


def dsn(system: LocalStack) -> str:
    return system.database_url(SUPERUSER).replace("postgresql+psycopg2", "postgresql")


def test_no_secret_is_shown_twice(ea: Client, administrator: Client, used: Mapping[str, str]) -> None:
    for client, target in (
        *(
            (administrator, "/api/v1/apps"),
            (administrator, "/v1/k8s/apps"),
            (administrator, "/api/v1/service-accounts"),
        ),
        *(
            (administrator, PLACE),
            (administrator, f"{PLACE}/ods"),
            (administrator, "/api/v1/admin/audit?limit=100"),
        ),
        *((ea, "/v1/webhooks?partner=ea"), (ea, "/api/v1/keys")),
    ):
        answer = client.send("GET", target)
        assert answer.status == 200, answer.data
        assert [name for name, value in used.items() if value in answer.data.decode()] == [], target


def test_secrets_are_compared_in_constant_time() -> None:
    """No `==` beside what is called a secret, in any service: `hmac.compare_digest` or a hash decides."""
    for path in (path for source in SOURCES for path in source.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
                sides = " ".join(name_of(side) for side in (node.left, *node.comparators))
                is_secret = SECRET_NAMES.search(sides) and not KEPT_NAMES.search(sides)
                assert not is_secret, f"{path}:{node.lineno}: {ast.unparse(node)}"


def name_of(side: ast.expr) -> str:
    if isinstance(side, ast.Call):
        return name_of(side.func)
    return side.attr if isinstance(side, ast.Attribute) else side.id if isinstance(side, ast.Name) else ""
