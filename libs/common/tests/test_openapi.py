"""What the OpenAPI document says of a view by itself."""

from typing import Any

import pytest
from flask import Flask
from marshmallow import Schema, fields

from common import openapi, samples
from common.api import Blueprint, create_app
from common.clock import FixedClock
from common.principal import Principal


class Thing(Schema):
    partner = fields.String(required=True)
    made_at = fields.String(required=True)
    tags = fields.List(fields.String())
    parts = fields.List(fields.Dict(), data_key="files")
    size = fields.Integer()


def nobody(_: Any) -> Principal:
    raise AssertionError("nobody calls")


@pytest.fixture
def document() -> dict[str, Any]:
    blp = Blueprint(
        "things", __name__, url_prefix="/v1", faulty_status=422, refusals=((410, "It is over", "over"),)
    )

    @blp.route("/things/<name>", methods=["POST"])
    @blp.route("/stuff/<name>", methods=["POST"])
    @blp.admits(any_scope=("write", "admin"), roles=("Editor",))
    @blp.repeatable
    @blp.refuses(409, "There is one already", "thing-exists")
    @blp.arguments(Thing)
    @blp.response(201, Thing)
    def make_thing(body: dict[str, Any], name: str) -> dict[str, Any]:
        """Make a thing.

        It stays.
        """
        return body

    @blp.route("/keys", methods=["GET"], tags=["Keys"])
    @blp.admits(anyone=True)
    @blp.conditional
    @blp.response(200)
    def keys() -> None:
        """List keys."""

    app: Flask = create_app(
        name="t", title="T", authenticate=nobody, blueprints=[blp], errors={}, probes={}, clock=FixedClock()
    )
    with app.app_context():
        made: dict[str, Any] = app.extensions["openapi"].to_dict()
    return made


def test_a_view_is_described_with_who_may_call_it(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/things/{name}"]["post"]
    assert operation["summary"] == "Make a thing."
    assert operation["description"].splitlines() == [
        "It stays.",
        "",
        "Needs a client's token or an API key with any of the scopes `write` or `admin`"
        " and the role `Editor`.",
    ]
    assert operation["security"] == [{"bearer": ["write"]}, {"bearer": ["admin"]}]
    assert operation["tags"] == ["Things"]


def test_a_view_at_two_addresses_has_two_names(document: dict[str, Any]) -> None:
    names = {each["operationId"] for _, each in openapi.operations(document)}
    assert names == {"makeThing", "makeThingV1Things", "keys"}


def test_what_the_shell_and_the_view_refuse_is_documented_and_nothing_else(document: dict[str, Any]) -> None:
    answers = document["paths"]["/v1/things/{name}"]["post"]["responses"]
    assert sorted(answers) == ["201", "400", "401", "403", "404", "409", "410", "413", "422", "503"]
    conflicts = answers["409"]["content"]["application/problem+json"]["examples"]
    assert set(conflicts) == {"thing-exists", "idempotency-key-in-progress"}
    assert conflicts["thing-exists"]["value"]["detail"] == "There is one already"


def test_an_open_view_refuses_no_token(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/keys"]["get"]
    assert sorted(operation["responses"]) == ["200", "304", "400", "410", "503"]
    assert (operation["security"], operation["description"]) == ([], "Needs no token.")


def test_headers_and_path_parameters_are_documented(document: dict[str, Any]) -> None:
    parameters = document["paths"]["/v1/things/{name}"]["post"]["parameters"]
    assert [(each["in"], each["name"]) for each in parameters] == [
        ("path", "name"),
        ("header", "Idempotency-Key"),
    ]


def test_bodies_and_answers_get_an_example(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/things/{name}"]["post"]
    wanted = {"partner": "ea", "made_at": samples.INSTANT, "tags": ["nightly"], "files": [{}], "size": 1}
    for place in (operation["requestBody"], operation["responses"]["201"]):
        assert place["content"]["application/json"]["example"] == wanted


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        ({"type": "string", "example": "x"}, "x"),
        ({"type": "string", "enum": ["a", "b"]}, "a"),
        ({"type": ["integer", "null"]}, 1),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, True),
        ({"type": "string", "format": "uuid"}, samples.UID),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Part"}}, [{"size": 1}]),
    ],
)
def test_an_example_is_made_of_what_the_schema_says(schema: dict[str, Any], example: Any) -> None:
    parts = {"Part": {"type": "object", "properties": {"size": {"type": "integer"}}}}
    assert samples.sample("thing", schema, parts) == example
