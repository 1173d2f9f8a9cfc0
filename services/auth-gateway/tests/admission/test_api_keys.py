"""API keys at the door and at `/api/v1/keys`, on a real database and a real Redis."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from common import database
from common.clock import rfc3339
from gateway import denials, routes
from gateway import usage as usage_of_keys
from gateway.admission import Forward, Local
from gateway.app import create_app
from gateway.counters import Counters
from gateway.forward import Upstreams
from gateway.key_desk import KeyDesk
from gateway.revocations import CLIENT, Revocations, revoke
from gateway.services import Services
from gateway.usage import Usage

ISSUER = "https://login.example/realms/x"
INVALID = (401, "Invalid token")
USUAL = 1000
OBJECT = {
    "id", "name", "scopes", "masked_key", "active", "requests_per_hour", "remaining_requests",
    "total_requests", "created_at", "expires_at", "last_used_at",
}  # fmt: skip


class Quiet(Revocations):
    """Revocations whose thread does not run: a test reads them itself."""

    def _start(self) -> None:
        """Start nothing."""


@dataclass
class Desk:
    """The gateway's application with its door, and clients to ask as."""

    door: Any
    client: Any
    engine: Engine
    usage: Usage
    token_of: Callable[..., str]

    def ask(self, method: str, path: str = "", body: Any = None, token: str = "", **headers: str) -> Any:
        given = {"Authorization": f"Bearer {token or self.token_of()}"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.open(f"/api/v1/keys{path}", method=method, json=body, headers=given)

    def make(self, token: str = "", **body: Any) -> Any:
        """Create a key; returns the object and its token."""
        answer = self.ask("POST", "", {"name": "k", "scopes": ["read"], **body}, token)
        assert answer.status_code == 201, answer.json
        return answer.json["data"]["api_key"], answer.json["data"]["token"]

    def refresh(self) -> None:
        """What every worker does twice a second."""
        self.door.revoked.refresh()

    def note_application(self, client_id: str) -> None:
        with database.transaction(self.engine) as connection:
            connection.execute(
                text(
                    "INSERT INTO gateway.client_application (client_id, name, secret_hash)"
                    " VALUES (:id, :id, 'x') ON CONFLICT (client_id) DO UPDATE SET enabled = true"
                ),
                {"id": client_id},
            )


@pytest.fixture
def desk(door: Any, gateway_engine: Engine, servers: Any, keys: Any, tools: Any, limiting: Any) -> Desk:
    servers.flush_redis()
    with database.transaction(gateway_engine) as connection:
        for table in ("api_key", "revocation", "idempotency_key"):
            connection.execute(text(f"DELETE FROM gateway.{table}"))
    door.engine = gateway_engine
    door.revoked = Quiet(gateway_engine, ISSUER, door.clock)
    door.revoked.refresh()
    door.build()
    counting = limiting(gateway_engine, door.clock, servers.redis_url("gateway"), most=USUAL)
    services = Services(
        engine=gateway_engine,
        admission=door.admission,
        upstreams=Upstreams({"jobs": "http://127.0.0.1:1", "outputs": "http://127.0.0.1:1"}),
        clock=door.clock,
        **counting,
    )

    def token_of(client_id: str = "runway-api", **changes: Any) -> str:
        named = {"client_id": client_id, "azp": client_id, "sub": client_id, **changes}
        return str(tools.mint(keys.rsa, door.claims(**named)))

    made = Desk(door, create_app(services).test_client(), gateway_engine, counting["usage"], token_of)
    made.note_application("runway-api")
    return made


@pytest.fixture
def admin(desk: Desk) -> str:
    desk.note_application("admin")
    return desk.token_of("admin", scope="", roles=["Administrator"])


# What a key is


def test_a_new_key_has_the_form_of_the_contract_and_is_shown_once(desk: Desk) -> None:
    answer = desk.ask("POST", "", {"name": "nightly", "scopes": ["read", "write"], "partners": ["ea"]})
    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store")
    assert (answer.json["success"], set(answer.json)) == (True, {"success", "message", "data"})
    data = answer.json["data"]
    assert set(data) == {"api_key", "token", "warning"}
    assert re.fullmatch(r"rl_[A-Za-z0-9]{8}_[A-Za-z0-9]{32}", data["token"])
    key = data["api_key"]
    assert set(key) == OBJECT
    assert type(key["id"]) is int
    assert key["masked_key"] == data["token"][:11] + "_****"
    facts = {name: key[name] for name in OBJECT - {"id", "masked_key", "created_at"}}
    assert facts == {
        "name": "nightly",
        "scopes": ["read", "write"],
        "active": True,
        "requests_per_hour": USUAL,
        "remaining_requests": USUAL,
        "total_requests": 0,
        "expires_at": None,
        "last_used_at": None,
    }
    assert data["token"][12:] not in desk.ask("GET").get_data(as_text=True)


def test_only_a_hash_of_the_secret_is_kept(desk: Desk) -> None:
    _, token = desk.make()
    with database.transaction(desk.engine) as connection:
        kept = str(connection.execute(text("SELECT * FROM gateway.api_key")).mappings().one())
        noted = str(connection.execute(text("SELECT * FROM gateway.audit ORDER BY id DESC LIMIT 3")).all())
    assert token[3:11] in kept
    assert token[12:] not in kept + noted


def test_no_two_keys_are_alike(desk: Desk) -> None:
    tokens = {desk.make()[1] for _ in range(20)}
    assert len({token[:11] for token in tokens}) == len({token[12:] for token in tokens}) == 20


# A key at the door


def test_a_key_comes_in_with_both_names_of_its_scopes(desk: Desk) -> None:
    made, token = desk.make(name="nightly")
    decision = desk.door.admitted(token)
    assert isinstance(decision, Forward)
    headers = dict(decision.headers)
    assert headers["x-auth-kind"] == "api-key"
    assert headers["x-auth-scopes"] == "read read:jobs read:jobs:output-files"
    assert headers["x-auth-partners"] == "ea"
    assert headers["x-auth-client-id"] == f"key-{made['id']}"
    assert headers["x-auth-issuer"] == "taxiway-keys"
    assert headers["x-auth-client-name"] == "nightly"
    assert headers["x-auth-subject"] == str(made["id"])
    assert "x-auth-roles" not in headers
    assert "authorization" not in headers


def test_an_admin_key_is_an_administrator(desk: Desk, admin: str) -> None:
    _, token = desk.make(admin, scopes=["admin"])
    caller = desk.door.admitted(token, "GET", "/api/v1/admin/partners").principal
    assert caller.roles == {"Administrator"}
    assert caller.partners == frozenset()
    assert desk.ask("GET", token=token).status_code == 200


def test_keys_are_taken_wherever_a_clients_token_is(desk: Desk) -> None:
    _, token = desk.make(scopes=["read", "write"])
    for route in routes.load(
        desk.door.routes_file, ("jobs", "jobs-watch", "outputs", "issuer", "gateway")
    ).routes:
        path = route.path.replace("/**", "").replace("*", "x")
        if "client" in route.admits:
            assert isinstance(desk.door.knock(token, route.methods[0], path), Forward | Local)
        elif "run" in route.admits:
            assert desk.door.refusal(token, route.methods[0], path)[0] == 403


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that were looked up in the database."""
    keys: list[str] = []
    look_up = KeyDesk.verify

    def noted(self: KeyDesk, token: str) -> Any:
        keys.append(token)
        return look_up(self, token)

    monkeypatch.setattr(KeyDesk, "verify", noted)
    return keys


def test_a_verdict_is_remembered_and_asks_the_database_once(desk: Desk, asked: list[str]) -> None:
    _, token = desk.make()
    for _ in range(5):
        desk.door.admitted(token)
    assert len(asked) == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: token[:-1] + ("a" if token[-1] != "a" else "b"),
        lambda token: token[:3] + "A" * 8 + token[11:],
        lambda token: token + "a",
        lambda token: token[:-1],
        lambda token: token.replace("rl_", "RL_"),
        lambda token: token[:12],
        lambda token: token + "é",
        lambda token: token + "a" * 5000,
    ],
)
def test_what_is_not_quite_the_key_is_no_key(desk: Desk, spoil: Callable[[str], str]) -> None:
    _, token = desk.make()
    assert desk.door.refusal(spoil(token)) == INVALID


def test_an_expired_key_is_no_key_by_the_second(desk: Desk) -> None:
    end = desk.door.clock.now() + timedelta(seconds=30)
    made, token = desk.make(expires_at=rfc3339(end))
    assert made["expires_at"] == rfc3339(end)
    desk.door.clock.advance(29.9)
    desk.refresh()
    desk.door.admitted(token)
    desk.door.clock.advance(0.1)
    assert desk.door.refusal(token) == INVALID
    desk.door.clock.advance(100)
    desk.refresh()
    assert desk.door.refusal(token) == INVALID


def test_an_inactive_key_is_refused_in_every_worker_after_it_read_again(desk: Desk) -> None:
    made, token = desk.make()
    desk.door.admitted(token)
    assert desk.ask("PUT", f"/{made['id']}", {"active": False}).json["data"]["active"] is False
    desk.refresh()
    assert desk.door.refusal(token) == INVALID
    desk.ask("PUT", f"/{made['id']}", {"active": True})
    desk.door.clock.advance(3)  # a refusal is remembered for two seconds
    desk.refresh()
    desk.door.admitted(token)


def test_a_deleted_key_is_refused(desk: Desk) -> None:
    made, token = desk.make()
    desk.door.admitted(token)
    answer = desk.ask("DELETE", f"/{made['id']}")
    assert (answer.status_code, answer.json["success"], answer.json["data"]) == (200, True, None)
    desk.refresh()
    assert desk.door.refusal(token) == INVALID
    assert desk.ask("GET").json["data"] == []


def test_changed_scopes_hold_after_the_next_reading_and_are_remembered_again(
    desk: Desk, asked: list[str]
) -> None:
    made, token = desk.make(scopes=["read"])
    desk.door.admitted(token)
    desk.ask("PUT", f"/{made['id']}", {"scopes": ["write"]})
    desk.refresh()
    for _ in range(3):
        assert desk.door.admitted(token).principal.scopes == {"write", "create:jobs"}
    assert len(asked) == 2


@pytest.mark.parametrize("statement", ["UPDATE {} SET enabled = false", "DELETE FROM {}"])
def test_the_keys_of_a_disabled_application_are_refused(desk: Desk, statement: str) -> None:
    _, token = desk.make()
    desk.door.admitted(token)
    with database.transaction(desk.engine) as connection:
        where = " WHERE client_id = 'runway-api'"
        connection.execute(text(statement.format("gateway.client_application") + where))
        now = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        revoke(connection, CLIENT, "runway-api", now)
    desk.refresh()
    assert desk.door.refusal(token) == INVALID


def test_the_keys_of_a_denied_client_of_an_identity_provider_are_refused(desk: Desk) -> None:
    _, token = desk.make()
    theirs = ("https://idp.example/x", "runway-api")
    with database.transaction(desk.engine) as connection:
        move = "UPDATE gateway.api_key SET owner_issuer = :issuer"
        connection.execute(text(move), {"issuer": theirs[0]})
    assert isinstance(desk.door.admitted(token), Forward)
    with database.transaction(desk.engine) as connection:
        denials.deny(connection, *theirs)
    desk.refresh()
    assert desk.door.refusal(token) == INVALID
    with database.transaction(desk.engine) as connection:
        denials.allow(connection, *theirs)
    desk.door.clock.advance(3)
    desk.refresh()
    assert isinstance(desk.door.admitted(token), Forward)


def test_without_a_database_a_new_key_is_a_503_and_a_known_one_as_long_as_the_view_is_fresh(
    desk: Desk,
) -> None:
    _, token = desk.make()
    _, unknown = desk.make()
    desk.door.admitted(token)
    desk.door.admission._keys = KeyDesk(
        database.connect("postgresql://nobody@127.0.0.1:1/nowhere", "tests"), ISSUER, desk.door.clock
    )
    desk.door.admitted(token)
    assert desk.door.refusal(unknown)[0] == 503
    desk.door.clock.advance(6)  # the view grew old: nobody is believed unasked
    assert desk.door.refusal(token)[0] == 503


def test_the_token_of_a_key_is_described(desk: Desk) -> None:
    _, token = desk.make(name="nightly")
    answer = desk.client.post("/api/v1/token/verify", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    assert (answer.json["clientName"], answer.json["partners"], answer.json["expiresAt"]) == (
        "nightly",
        ["ea"],
        None,
    )


# Who may do what


@pytest.mark.parametrize(
    ("scope", "statuses"),
    [
        ("read:jobs", (200, 200, 403, 403, 403)),
        ("create:jobs", (403, 403, 201, 200, 200)),
        ("partner:ea", (403, 403, 403, 403, 403)),
    ],
)
def test_reading_needs_read_and_the_rest_write(desk: Desk, scope: str, statuses: tuple[int, ...]) -> None:
    made, _ = desk.make()
    token = desk.token_of(scope=f"{scope} partner:ea")
    path = f"/{made['id']}"
    found = (
        desk.ask("GET", "", token=token).status_code,
        desk.ask("GET", f"{path}/usage", token=token).status_code,
        desk.ask("POST", "", {"name": "x", "scopes": ["write"]}, token).status_code,
        desk.ask("PUT", path, {"name": "y"}, token).status_code,
        desk.ask("DELETE", path, token=token).status_code,
    )
    assert found == statuses


@pytest.mark.parametrize(
    ("scopes", "statuses"), [(["read"], (200, 403)), (["write"], (403, 201)), (["read", "write"], (200, 201))]
)
def test_keys_manage_keys_by_their_own_scopes(
    desk: Desk, scopes: list[str], statuses: tuple[int, int]
) -> None:
    _, token = desk.make(scopes=scopes)
    made = desk.ask("POST", "", {"name": "x", "scopes": scopes}, token).status_code
    assert (desk.ask("GET", token=token).status_code, made) == statuses


def test_keys_of_others_are_not_there(desk: Desk) -> None:
    made, _ = desk.make()
    other = desk.token_of("acme-api")
    assert desk.ask("GET", token=other).json["data"] == []
    for method, path, body in (("GET", "/usage", None), ("PUT", "", {"name": "mine"}), ("DELETE", "", None)):
        answer = desk.ask(method, f"/{made['id']}{path}", body, other)
        assert (answer.status_code, answer.json["type"]) == (404, "/problems/api-key-not-found")
    assert desk.ask("GET").json["data"][0]["name"] == "k"


def test_a_key_belongs_to_its_makers_application(desk: Desk) -> None:
    _, token = desk.make(scopes=["read", "write"])
    desk.make(token, name="made by a key")
    assert [key["name"] for key in desk.ask("GET").json["data"]] == ["k", "made by a key"]


def test_an_administrator_manages_all(desk: Desk, admin: str) -> None:
    made, _ = desk.make()
    assert [key["id"] for key in desk.ask("GET", token=admin).json["data"]] == [made["id"]]
    assert desk.ask("GET", f"/{made['id']}/usage", token=admin).status_code == 200
    changes = {"requests_per_hour": 5 * USUAL, "scopes": ["read", "write"]}
    assert desk.ask("PUT", f"/{made['id']}", changes, admin).status_code == 200
    assert desk.ask("DELETE", f"/{made['id']}", token=admin).status_code == 200


@pytest.mark.parametrize(
    "beyond",
    [
        {"scopes": ["admin"]},
        {"scopes": ["read", "admin"]},
        {"partners": ["acme"]},
        {"partners": ["ea", "EA"]},
        {"requests_per_hour": USUAL + 1},
    ],
)
def test_a_key_has_no_more_than_its_maker(desk: Desk, beyond: dict[str, Any]) -> None:
    _, key = desk.make(scopes=["read", "write"])
    for maker in (desk.token_of(), key):
        answer = desk.ask("POST", "", {"name": "x", "scopes": ["read"], **beyond}, maker)
        assert (answer.status_code, answer.json["type"]) == (403, "/problems/beyond-its-maker")
    assert len(desk.ask("GET").json["data"]) == 1


def test_a_small_key_makes_no_larger_ones(desk: Desk) -> None:
    _, small = desk.make(scopes=["read", "write"], requests_per_hour=50)
    made, _ = desk.make(small, scopes=["read"])
    assert made["requests_per_hour"] == 50
    body = {"name": "x", "scopes": ["read"], "requests_per_hour": 51}
    assert desk.ask("POST", "", body, small).status_code == 403


def test_a_key_makes_none_that_outlives_it(desk: Desk) -> None:
    end, later = (rfc3339(desk.door.clock.now() + timedelta(hours=hours)) for hours in (1, 2))
    _, token = desk.make(scopes=["write"], expires_at=end)
    made, _ = desk.make(token, scopes=["write"])
    assert made["expires_at"] == end
    body = {"name": "x", "scopes": ["write"], "expires_at": later}
    assert desk.ask("POST", "", body, token).status_code == 403


def test_a_key_can_neither_raise_itself_nor_another(desk: Desk, admin: str) -> None:
    mine, token = desk.make(scopes=["write"])
    other, _ = desk.make(scopes=["read", "write"])
    for key, change in (
        (mine, {"scopes": ["read", "write"]}),
        (mine, {"requests_per_hour": USUAL + 1}),
        (other, {"active": True}),
        (other, {"requests_per_hour": 10}),
    ):
        assert desk.ask("PUT", f"/{key['id']}", change, token).status_code == 403
    assert desk.ask("PUT", f"/{other['id']}", {"active": False}, token).status_code == 200


def test_an_administrators_key_for_a_partner_is_the_administrators_to_give(desk: Desk, admin: str) -> None:
    _, token = desk.make(admin, scopes=["read"], partners=["acme"])
    assert desk.door.admitted(token).principal.partners == {"acme"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"name": "x"}, 422),
        ({"name": "x", "scopes": []}, 422),
        ({"name": "", "scopes": ["read"]}, 422),
        ({"name": "x", "scopes": ["root"]}, 422),
        ({"name": "x", "scopes": "read"}, 400),
        ({"name": "x", "scopes": ["read"], "requests_per_hour": 0}, 422),
        ({"name": "x", "scopes": ["read"], "requests_per_hour": 10**30}, 422),
        ({"name": "x", "scopes": ["read"], "expires_at": "2025-12-31T23:59:59Z"}, 422),
        ({"name": "x", "scopes": ["read"], "expires_at": "9999-12-31T23:59:59-23:59"}, 422),
        ({"name": "x", "scopes": ["read"], "expires_at": "2027-01-01"}, 422),
        ([], 400),
    ],
)
def test_faulty_wishes_are_named(desk: Desk, body: Any, status: int) -> None:
    answer = desk.ask("POST", "", body)
    assert answer.status_code == status, answer.json
    assert answer.json["details"]


@pytest.mark.parametrize("key_id", ["0", "999999", "9" * 30, "x", "1.5", "-1"])
def test_ids_that_lead_nowhere_are_404(desk: Desk, key_id: str) -> None:
    assert desk.ask("PUT", f"/{key_id}", {"name": "x"}).status_code == 404
    assert desk.ask("GET", f"/{key_id}/usage").status_code == 404


def test_a_repeated_creation_shows_no_secret_and_makes_no_second_key(desk: Desk) -> None:
    body = {"name": "x", "scopes": ["read"]}
    assert desk.ask("POST", "", body, Idempotency_Key="k1").status_code == 201
    answer = desk.ask("POST", "", body, Idempotency_Key="k1")
    assert (answer.status_code, answer.json["type"]) == (409, "/problems/secret-shown-once")
    assert desk.ask("POST", "", {**body, "name": "y"}, Idempotency_Key="k1").status_code == 422
    assert len(desk.ask("GET").json["data"]) == 1


def test_every_act_is_in_the_audit_with_who_and_from_where(desk: Desk) -> None:
    made, _ = desk.make()
    desk.ask("PUT", f"/{made['id']}", {"name": "other"})
    desk.ask("DELETE", f"/{made['id']}")
    query = text("SELECT action, actor, data ->> 'from' AS place FROM gateway.audit WHERE subject = :id")
    with database.transaction(desk.engine) as connection:
        rows = connection.execute(query, {"id": str(made["id"])}).all()
    assert {(row.actor, row.place) for row in rows} == {("client:runway-api", "127.0.0.1")}
    assert [row.action for row in rows] == ["api-key.created", "api-key.changed", "api-key.deleted"]


# Quotas and use


def verify(desk: Desk, token: str) -> Any:
    return desk.client.post("/api/v1/token/verify", headers={"Authorization": f"Bearer {token}"})


def test_a_key_has_its_own_quota(desk: Desk) -> None:
    _, token = desk.make(requests_per_hour=2)
    answers = [verify(desk, token) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    assert {answer.headers["X-RateLimit-Limit"] for answer in answers} == {"2"}


def test_a_wrong_kind_and_a_large_body_are_counted_against_the_keys_own_quota(desk: Desk) -> None:
    _, token = desk.make(requests_per_hour=7)
    asked = {"Authorization": f"Bearer {token}"}
    answers = [
        desk.client.get("/sdk/v1/runs/x/y", headers=asked),
        desk.client.post("/api/v1/jobs", headers=asked, data=b"x" * (1024 * 1024 + 1)),
    ]
    assert [answer.status_code for answer in answers] == [403, 413]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["6", "5"]


def test_a_raised_quota_holds_after_the_next_reading(desk: Desk) -> None:
    made, token = desk.make(requests_per_hour=1)
    assert [verify(desk, token).status_code for _ in range(2)] == [200, 429]
    desk.ask("PUT", f"/{made['id']}", {"requests_per_hour": 2})
    desk.refresh()
    assert [verify(desk, token).status_code for _ in range(2)] == [200, 429]


def use_of(desk: Desk, key: Any) -> Any:
    return desk.ask("GET", f"/{key['id']}/usage").json["data"]


def test_use_is_seen_at_once_and_written_down_later(desk: Desk) -> None:
    made, token = desk.make(requests_per_hour=10)
    for _ in range(3):
        verify(desk, token)
    desk.door.clock.advance(1)
    expected = {
        "id": made["id"],
        "requests_per_hour": 10,
        "used_requests": 3,
        "remaining_requests": 7,
        "reset_at": "2026-01-01T01:00:00.000Z",
        "total_requests": 3,
        "last_used_at": "2026-01-01T00:00:00.000Z",
    }
    assert use_of(desk, made) == expected
    assert stored(desk, made) == (0, None)
    desk.usage.write_down()
    assert stored(desk, made)[0] == 3
    assert use_of(desk, made) == expected


def stored(desk: Desk, key: Any) -> tuple[int, Any]:
    query = text("SELECT total_requests, last_used_at FROM gateway.api_key WHERE id = :id")
    with database.transaction(desk.engine) as connection:
        row = connection.execute(query, {"id": key["id"]}).one()
    return row.total_requests, row.last_used_at


def test_nothing_is_written_down_twice_or_lost_at_the_full_hour(desk: Desk) -> None:
    made, token = desk.make()
    totals = []
    for requests, seconds in ((2, 60), (3, 3500), (1, 100), (4, 7200), (5, 1)):
        for _ in range(requests):
            assert verify(desk, token).status_code == 200
        desk.door.clock.advance(1)
        desk.usage.write_down()
        desk.usage.write_down()
        totals.append(stored(desk, made)[0])
        desk.door.clock.advance(seconds - 1)
        desk.refresh()
    assert totals == [2, 5, 6, 10, 15]


def test_requests_of_the_hour_before_are_written_down_in_the_next(desk: Desk) -> None:
    made, token = desk.make()
    for _ in range(3):
        verify(desk, token)
    desk.door.clock.advance(3600)
    desk.refresh()
    verify(desk, token)
    desk.door.clock.advance(1)
    desk.usage.write_down()
    assert stored(desk, made)[0] == 4


def test_one_worker_writes_down_for_all(servers: Any) -> None:
    servers.flush_redis()
    workers = [Counters.from_url(servers.redis_url("gateway")) for _ in range(3)]
    assert [worker.take_turn(50) for worker in workers] == [True, False, False]


def test_without_redis_keys_are_listed_with_what_is_written_down(desk: Desk) -> None:
    _, token = desk.make()
    verify(desk, token)
    desk.door.clock.advance(1)
    desk.usage.write_down()
    away = Usage(desk.engine, Counters.from_url("redis://127.0.0.1:1"), desk.door.clock)
    services = desk.client.application.extensions["services"]
    desk.client.application.extensions["services"] = replace(services, usage=away)
    item = desk.ask("GET").json["data"][0]
    assert (item["total_requests"], item["remaining_requests"]) == (1, USUAL)
    assert item["last_used_at"] == "2026-01-01T00:00:00.000Z"


def test_a_worker_writes_down_by_itself(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    made, token = desk.make()
    verify(desk, token)
    desk.door.clock.advance(1)
    monkeypatch.setattr(usage_of_keys, "EVERY_SECONDS", 0.05)
    monkeypatch.setattr(Counters, "take_turn", lambda *_: True)
    desk.usage.start()
    deadline = time.monotonic() + 20
    while stored(desk, made)[0] != 1:
        assert time.monotonic() < deadline
        time.sleep(0.02)
