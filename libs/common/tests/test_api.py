"""The shell of a web service: one shape of errors, one way in, health."""

import json
from typing import Any

import pytest
from flask import Flask
from marshmallow import EXCLUDE, Schema, fields
from werkzeug.test import TestResponse

from common import problems
from common.api import Blueprint, SignedHeaders, create_app
from common.clock import FixedClock
from common.database import Unavailable
from common.principal import Principal, signed_headers
from common.problems import Problem

KEYS = {"k": b"1" * 32}
CLOCK = FixedClock()
MEMBERS = [
    "type", "title", "status", "detail", "success", "error", "message", "details", "statusCode", "requestId",
]  # fmt: skip


class Broken(Exception):
    """A domain error of the example."""


class Inner(Schema):
    size = fields.Integer(required=True, strict=True)


class Body(Schema):
    class Meta:
        unknown = EXCLUDE

    name = fields.String(required=True)
    inner = fields.List(fields.Nested(Inner))


def example() -> Blueprint:
    blp = Blueprint("example", __name__, url_prefix="/v1", faulty_status=422)

    @blp.route("/things", methods=["GET"])
    @blp.admits(scopes=("read",))
    @blp.response(200)
    def things() -> dict[str, str]:
        return {"ok": "yes"}

    @blp.route("/things", methods=["POST"])
    @blp.admits(any_scope=("write", "admin"))
    @blp.arguments(Body)
    @blp.response(201)
    def make_thing(body: dict[str, Any]) -> dict[str, Any]:
        return body

    @blp.route("/junk", methods=["DELETE"])
    @blp.admits(scopes=("write",), or_role="Administrator")
    @blp.response(200)
    def remove_junk() -> dict[str, str]:
        return {"ok": "yes"}

    @blp.route("/fail/<how>", methods=["GET"])
    @blp.admits(kinds=("client", "run"), roles=())
    @blp.response(200)
    def fail(how: str) -> None:
        if how == "problem":
            raise Problem(status=429, detail="slow", headers={"Retry-After": "3"}, members={"retry_after": 3})
        raise {"mapped": Broken("x"), "away": Unavailable("db"), "bug": ZeroDivisionError("secret")}[how]

    return blp


@pytest.fixture
def app() -> Flask:
    def fails() -> None:
        raise OSError("password=hunter2")

    return create_app(
        name="example",
        title="Example",
        authenticate=SignedHeaders(KEYS, CLOCK),
        blueprints=(example(),),
        errors={Broken: lambda error: problems.conflict(f"broken {error}", "broken")},
        probes={"database": lambda: None, "storage": fails},
        clock=CLOCK,
    )


def call(app: Flask, method: str, target: str, *, kind: str = "client", **options: Any) -> TestResponse:
    scopes = frozenset(options.pop("scopes", ("read", "write")))
    roles = frozenset(options.pop("roles", ()))
    caller = Principal(kind=kind, subject="s", scopes=scopes, roles=roles)
    signed = signed_headers(caller, method, target, KEYS, int(CLOCK.now().timestamp()))
    return app.test_client().open(
        target, method=method, headers={**signed, **options.pop("headers", {})}, **options
    )


def test_a_problem_has_all_its_members_in_order(app: Flask) -> None:
    answer = call(app, "GET", "/v1/fail/mapped", headers={"X-Request-Id": "r-1"})
    assert answer.content_type == "application/problem+json"
    assert list(json.loads(answer.text)) == MEMBERS
    assert answer.json == {
        "type": "/problems/broken",
        "title": "Conflict",
        "status": 409,
        "detail": "broken x",
        "success": False,
        "error": "conflict",
        "message": "broken x",
        "details": {},
        "statusCode": 409,
        "requestId": "r-1",
    }
    assert answer.headers["X-Request-Id"] == "r-1"


def test_a_problem_keeps_its_headers_and_members(app: Flask) -> None:
    answer = call(app, "GET", "/v1/fail/problem")
    assert (answer.status_code, answer.headers["Retry-After"], answer.get_json()["retry_after"]) == (
        429,
        "3",
        3,
    )
    assert answer.get_json()["error"] == "rate_limit_exceeded"


def test_a_role_may_stand_for_scopes_where_a_view_says_so(app: Flask) -> None:
    def status(role: str, method: str = "DELETE", path: str = "/v1/junk") -> int:
        return call(app, method, path, scopes=(), roles=(role,)).status_code

    assert status("Administrator") == 200
    assert [status(role) for role in ("Editor", "administrator")] == [403, 403]
    assert status("Administrator", "GET", "/v1/things") == 403
    document = app.extensions["openapi"].to_dict()
    told = document["paths"]["/v1/junk"]["delete"]["description"]
    assert told.endswith("with the scope `write`, or the role `Administrator`.")


@pytest.mark.parametrize("status", sorted(problems.CODES))
def test_every_status_has_its_code(status: int) -> None:
    written = problems.document(Problem(status=status, detail="x"), "r")
    assert written["error"] == problems.CODES[status]
    assert written["type"] == "/problems/" + problems.CODES[status].replace("_", "-")


def test_a_bug_shows_nothing_of_itself(app: Flask) -> None:
    answer = call(app, "GET", "/v1/fail/bug")
    assert (answer.status_code, answer.get_json()["error"]) == (500, "internal_error")
    assert "secret" not in answer.text
    assert "ZeroDivision" not in answer.text


def test_a_dependency_that_is_away_is_503_with_retry_after(app: Flask) -> None:
    answer = call(app, "GET", "/v1/fail/away")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_a_wrong_method_is_405_with_allow(app: Flask) -> None:
    answer = call(app, "DELETE", "/v1/things")
    assert (answer.status_code, answer.get_json()["error"]) == (405, "method_not_allowed")
    assert {"GET", "HEAD", "POST"} <= set(answer.headers["Allow"].split(", "))


def test_an_unknown_address_is_404(app: Flask) -> None:
    assert call(app, "GET", "/v1/nothing").get_json()["error"] == "not_found"


def test_a_body_over_the_limit_is_413(app: Flask) -> None:
    big = b'{"name": "' + b"x" * 1024 * 1024 + b'"}'
    answer = call(app, "POST", "/v1/things", data=big, content_type="application/json")
    assert (answer.status_code, answer.get_json()["error"]) == (413, "payload_too_large")


def test_both_spellings_of_a_path_answer_and_neither_redirects(app: Flask) -> None:
    assert [call(app, "GET", target).status_code for target in ("/v1/things", "/v1/things/")] == [200, 200]


def test_a_caller_is_refused_before_the_body_is_looked_at(app: Flask) -> None:
    for data in (b"{", b"x" * 2 * 1024 * 1024):
        answer = call(app, "POST", "/v1/things", scopes=["read"], data=data, content_type="application/json")
        assert (answer.status_code, answer.get_json()["message"]) == (403, "Insufficient scopes")
        assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


def test_one_of_several_scopes_is_enough(app: Flask) -> None:
    for scope, status in (("write", 201), ("admin", 201), ("writer", 403)):
        assert call(app, "POST", "/v1/things", scopes=[scope], json={"name": "x"}).status_code == status


def test_another_kind_of_caller_is_refused(app: Flask) -> None:
    assert call(app, "GET", "/v1/things", kind="run").status_code == 403
    assert call(app, "GET", "/v1/things", kind="api-key").status_code == 200


def test_an_unsigned_call_is_401(app: Flask) -> None:
    headers = {"X-Auth-Kind": "client", "X-Auth-Subject": "s", "X-Auth-Scopes": "read"}
    answer = app.test_client().get("/v1/things", headers=headers)
    assert (answer.status_code, answer.get_json()["error"]) == (401, "unauthorized")
    assert "WWW-Authenticate" in answer.headers


def test_a_call_that_waited_for_too_long_is_to_be_tried_again(app: Flask) -> None:
    caller, late = Principal(kind="client", subject="s"), int(CLOCK.now().timestamp()) - 31
    signed = signed_headers(caller, "GET", "/v1/things", KEYS, late)
    answer = app.test_client().get("/v1/things", headers=signed)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    forged = app.test_client().get("/v1/things?more=1", headers=signed)
    assert forged.status_code == 401


def test_a_signature_is_bound_to_path_and_query(app: Flask) -> None:
    caller = Principal(kind="client", subject="s", scopes=frozenset({"read"}))
    signed = signed_headers(caller, "GET", "/v1/things?a=%2F", KEYS, int(CLOCK.now().timestamp()))
    client = app.test_client()
    assert client.get("/v1/things?a=%2F", headers=signed).status_code == 200
    for target in ("/v1/things", "/v1/things?a=/", "/v1/things?a=%2F&b=1", "/v1/things/?a=%2F"):
        assert client.get(target, headers=signed).status_code == 401


def test_a_view_that_declares_no_access_is_never_reached() -> None:
    blp = Blueprint("open", __name__, url_prefix="/v1")

    @blp.route("/open", methods=["GET"])
    def forgotten() -> str:
        return "reached"

    app = create_app(
        name="x",
        title="x",
        authenticate=SignedHeaders(KEYS, CLOCK),
        blueprints=(blp,),
        errors={},
        probes={},
        clock=CLOCK,
    )
    assert call(app, "GET", "/v1/open").status_code == 500


def test_a_missing_field_is_the_blueprints_own_status(app: Flask) -> None:
    answer = call(app, "POST", "/v1/things", json={"inner": [{"size": 1}, {}]})
    assert (answer.status_code, answer.get_json()["type"]) == (422, "/problems/invalid-input")
    assert set(answer.get_json()["details"]) == {"name", "inner.1.size"}


@pytest.mark.parametrize(
    "body", [{"name": 1}, {"name": None}, {"name": "x", "inner": {}}, {"name": "x", "inner": [1]}, []]
)
def test_a_wrong_json_type_is_400(app: Flask, body: object) -> None:
    assert call(app, "POST", "/v1/things", json=body).status_code == 400


@pytest.mark.parametrize(
    "data",
    [
        b'{"n": NaN}',
        b'{"n": -Infinity}',
        b"{",
        b"[" * 100_000,
        b"9" * 5000,
        b'{"name": "\xff"}',
        b'{"name": "\x00"}',
        b"NaN",
    ],
)
def test_malformed_json_is_400(app: Flask, data: bytes) -> None:
    answer = call(app, "POST", "/v1/things", data=data, content_type="application/json")
    assert answer.status_code == 400


def test_texts_that_cannot_be_stored_are_mended(app: Flask) -> None:
    data = b'{"name": "a\\u0000b\\ud800\\u00e9"}'
    answer = call(app, "POST", "/v1/things", data=data, content_type="application/json")
    assert (answer.status_code, answer.get_json()["name"]) == (201, "ab?é")


def test_every_answer_has_a_request_id(app: Flask) -> None:
    for target in ("/v1/things", "/v1/nothing", "/healthz"):
        assert call(app, "GET", target).headers["X-Request-Id"]
    answer = call(app, "GET", "/v1/things", headers={"X-Request-Id": "bad id"})
    assert answer.headers["X-Request-Id"] != "bad id"


def test_health_says_alive_and_readiness_names_what_fails(app: Flask) -> None:
    client = app.test_client()
    assert (client.get("/healthz").status_code, client.get("/healthz").json) == (200, {"status": "ok"})
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json == {"status": "not ready", "dependencies": {"database": True, "storage": False}}
    assert "hunter2" not in answer.text


def test_the_document_describes_errors_and_security(app: Flask) -> None:
    document = app.extensions["openapi"].to_dict()
    assert document["paths"]["/v1/things"]["get"]["security"] == [{"bearer": ["read"]}]
    assert set(document["components"]["schemas"]["Problem"]["properties"]) == {*MEMBERS, "retry_after"}
