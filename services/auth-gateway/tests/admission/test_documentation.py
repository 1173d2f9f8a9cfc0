"""The documentation pages: what they serve, and with which protection."""

import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from gateway.api import documentation


@pytest.fixture
def client() -> FlaskClient:
    app = Flask("documentation")
    app.register_blueprint(documentation.pages(documentation.document("https://taxiway.example/")))
    return app.test_client()


def test_the_document_names_this_gateway_as_its_server(client: FlaskClient) -> None:
    document: dict[str, Any] = json.loads(client.get("/api/openapi.json").data)
    assert document["servers"] == [{"url": "https://taxiway.example"}]
    assert "/api/v1/token/verify" in document["paths"]


def test_a_document_that_did_not_change_is_not_sent_again(client: FlaskClient) -> None:
    tag = client.get("/api/openapi.json").headers["ETag"]
    assert client.get("/api/openapi.json", headers={"If-None-Match": tag}).status_code == 304


def test_everything_the_page_loads_comes_from_here(client: FlaskClient) -> None:
    with client.get("/api") as answer:
        page = answer.get_data(as_text=True)
    assert '<meta charset="utf-8">' in page
    assert "//" not in page.replace("<!doctype html>", "")
    for name in documentation.ASSETS:
        with client.get(f"/api/assets/{name}") as answer:
            assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/api", "/api/openapi.json", "/api/assets/page.js"])
def test_pages_allow_no_script_but_our_own(client: FlaskClient, path: str) -> None:
    with client.get(path) as answer:
        policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("name", ["index.html", "..%2fopenapi.json", "page.html"])
def test_other_files_are_not_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/api/assets/{name}").status_code == 404
