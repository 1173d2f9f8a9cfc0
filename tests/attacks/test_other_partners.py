"""What belongs to another partner is nowhere: not by its id, not by its name, not beside one's own."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from doors import MANAGED, Call, Worked, call_of, require_problem, send
from driving import Client
from operations import Operation, operations
from urllib3 import BaseHTTPResponse

from stack.testing import LocalStack

PUBLIC = [each for each in operations() if not each.is_internal and not each.is_open]
NAMED = [each for each in PUBLIC if each.names and set(each.names) - {"group", "name", "event_key", "key"}]
UNKNOWN = "00000000-0000-4000-8000-000000000000"
EXAMPLES: Mapping[str, Any] = {
    "/v1/runs/{run}/replay": {},
    "/api/v1/jobs/{uid}/start": {"executor": "caller"},
    "/api/v1/keys/{key_id}": {"name": "taken-over"},
}


@dataclass(frozen=True, kw_only=True)
class Things:
    """One of everything that has an id and belongs to acme."""

    job: str
    run: str
    output_set: str
    webhook: str
    key: int

    def id_for(self, name: str, template: str) -> str:
        """The id that stands at a parameter of a path."""
        if name == "uid":
            return self.job
        if name in ("run", "run_id"):
            return self.run
        by_name = {
            "set_uid": self.output_set,
            "webhook_id": self.webhook,
            "key_id": str(self.key),
            "code": "acme",
        }
        return by_name[name]


@pytest.fixture(scope="module")
def acmes(acme: Client) -> Iterator[Things]:
    uid = acme.submit("tests/echo", b"one\n")
    hook = {"partner": "acme", "url": "https://acme.example/hook", "events": ["run.failed"]}
    webhook = acme.call("POST", "/v1/webhooks", hook)
    key = acme.call("POST", "/api/v1/keys", {"name": "acmes", "scopes": ["read"]})["data"]["api_key"]
    run = acme.wait_completed(uid)["runs"][0]
    things = Things(
        job=uid, run=run["uid"], output_set=run["outputSets"][0], webhook=webhook["id"], key=key["id"]
    )
    yield things
    acme.send("DELETE", f"/v1/webhooks/{things.webhook}")
    acme.send("DELETE", f"/api/v1/keys/{things.key}")


@pytest.fixture(scope="module")
def worked(ea: Client) -> Iterator[Worked]:
    run = Worked(ea)
    yield run
    run.end()


def ask(system: LocalStack, token: str, call: Call) -> BaseHTTPResponse:
    return send(system.gateway_url, call, {"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize(
    "operation",
    [each for each in NAMED if not each.template.startswith(MANAGED)],
    ids=str,
)
def test_the_id_of_another_partners_thing_answers_as_an_unknown_one(
    system: LocalStack, ea: Client, worked: Worked, acmes: Things, operation: Operation
) -> None:
    token = worked.token if operation.is_of_executors else ea.token
    body = EXAMPLES.get(operation.template)
    theirs = {
        name: acmes.id_for(name, operation.template) for name in operation.names if name not in ("key",)
    }
    nobodys = {name: nobody(name) for name in theirs}
    known, unknown = (
        ask(system, token, call_of(operation, target=operation.path(**ids), body=body))
        for ids in (theirs, nobodys)
    )
    assert known.status in ((403,) if operation.is_of_executors else (404,)), known.data
    assert without_ids(known, theirs) == without_ids(unknown, nobodys)


def nobody(name: str) -> str:
    return {"key_id": "999999999", "code": "nobody"}.get(name, UNKNOWN)


def without_ids(answer: BaseHTTPResponse, ids: Mapping[str, str]) -> tuple[int, str]:
    text = json.dumps(answer.json())
    for each in ids.values():
        text = text.replace(each, "(id)")
    return answer.status, text


def test_another_partners_things_are_in_no_list(ea: Client, acmes: Things) -> None:
    lists = ["/api/v1/jobs?partner=ea&limit=1000", "/api/v1/output-sets?partner=ea", "/v1/runs?partner=ea"]
    for target in (*lists, "/v1/webhooks?partner=ea", "/api/v1/keys"):
        answer = ea.send("GET", target)
        assert answer.status == 200
        for each in (acmes.job, acmes.run, acmes.output_set, acmes.webhook, '"acmes"'):
            assert each not in answer.data.decode()


def test_another_partners_list_is_the_list_of_nobody(ea: Client) -> None:
    for target in ("/api/v1/jobs", "/api/v1/output-sets", "/v1/runs", "/v1/webhooks", "/api/v1/bundles"):
        known, unknown = (ea.send("GET", f"{target}?partner={each}") for each in ("acme", "nobody"))
        ids = ({"code": "acme"}, {"code": "nobody"})
        problems = [json.loads(answer.data) | {"requestId": ""} for answer in (known, unknown)]
        texts = [
            json.dumps(each).replace(one["code"], "(id)") for each, one in zip(problems, ids, strict=True)
        ]
        assert known.status == unknown.status == 404
        assert texts[0] == texts[1]


def test_nothing_is_made_for_another_partner(
    ea: Client, acmes: Things, worked: Worked, system: LocalStack
) -> None:
    job = {"tenant": "acme", "schoolYear": "2026", "bundle": "tests/echo", "files": {"INPUT_FILE": "a.csv"}}
    hook = {"partner": "acme", "url": "https://a.example", "events": ["run.failed"]}
    refused = [ea.send("POST", "/api/v1/jobs", {"partner": each, **job}) for each in ("acme", "nobody")]
    assert [answer.status for answer in refused] == [403, 403]
    assert without_ids(refused[0], {"": "acme"})[1][:90] == without_ids(refused[1], {"": "nobody"})[1][:90]
    assert ea.send("POST", "/api/v1/jobs", {"partner": "ea", **job}).status == 400  # acme's tenant
    assert ea.send("POST", "/v1/webhooks", hook).status == 404
    events = [
        ea.send("POST", "/v1/events/some-key/send", {"partner": each, "payload": {}})
        for each in ("acme", "nobody")
    ]
    assert without_ids(events[0], {"": "acme"})[1][:90] == without_ids(events[1], {"": "nobody"})[1][:90]
    assert [answer.status for answer in events] == [403, 403]
    key = {"name": "sneaky", "scopes": ["read"], "partners": ["acme"]}
    assert ea.send("POST", "/api/v1/keys", key).status in (400, 403)
    for child in ({"job_id": acmes.job}, {"project_id": "acme", "job_slug": "tests/echo"}):
        content = json.dumps({**child, "payload": {}}).encode()
        spawn = Call(
            service="jobs", method="POST", target=f"/sdk/v1/runs/{worked.run}/spawn", content=content
        )
        require_problem(ask(system, worked.token, spawn), 400, 403, 404, 422)


def test_a_repeated_key_finds_nothing_of_another_client(ea: Client, acme: Client) -> None:
    job = {"schoolYear": "2026", "bundle": "tests/echo", "files": {"INPUT_FILE": "a.csv"}}
    made = [
        client.send(
            "POST",
            "/api/v1/jobs",
            {"partner": client.partner, "tenant": client.partner, **job},
            **{"Idempotency-Key": "the-same"},
        )
        for client in (ea, acme)
    ]
    assert [answer.status for answer in made] == [201, 201]
    assert made[0].json()["uid"] != made[1].json()["uid"]


def test_a_link_opens_its_own_object_only(acme: Client, ea: Client, acmes: Things) -> None:
    """A link that was signed for one file is not good for another, nor for another method."""
    links = acme.call("POST", f"/api/v1/output-sets/{acmes.output_set}/download-links")["downloadLinks"]
    theirs = next(iter(links.values()))
    mine = ea.create("tests/echo", {"INPUT_FILE": "input.csv"})["uploadUrls"]["INPUT_FILE"]
    path, _, query = theirs.partition("?")
    for url in (f"{path}?{mine.partition('?')[2]}", path, f"{mine.partition('?')[0]}?{query}"):
        assert ea._http.request("GET", url).status in (400, 403)
    for method in ("PUT", "DELETE"):
        assert ea._http.request(method, theirs, body=b"x").status == 403
    assert ea._http.request("GET", theirs).status == 200
