"""The route table, and what must hold for all of it."""

from pathlib import Path

import pytest

from gateway import app as gateway_app
from gateway import routes
from issuer import app as issuer_app

TARGETS = ("jobs", "jobs-watch", "outputs", "issuer", "gateway")


@pytest.fixture(scope="module")
def table(routes_file: Path) -> routes.Table:
    return routes.load(routes_file, TARGETS)


@pytest.mark.parametrize(
    "path", ["/internal", "/internal/", "/internal/run-keys", "/internal/runs/x/outcome"]
)
@pytest.mark.parametrize("method", [*routes.METHODS, "HEAD", "OPTIONS"])
def test_no_route_leads_to_internal(table: routes.Table, path: str, method: str) -> None:
    assert table.match(method, path) == routes.Match()


def test_a_route_cannot_be_written_that_leads_to_internal(tmp_path: Path) -> None:
    for path in ("/internal/**", "/internal", "/*/run-keys", "/**", "/*"):
        with pytest.raises(routes.RoutesError):
            routes.Route(path=path, methods=("GET",), to="jobs", admits=("client",))


@pytest.mark.parametrize(
    ("method", "path", "to", "admits"),
    [
        ("POST", "/api/v1/jobs", "jobs", ("client", "api-key")),
        ("POST", "/api/v1/jobs/3/start/", "jobs", ("client", "api-key")),
        ("HEAD", "/api/v1/output-sets", "outputs", ("client", "api-key")),
        ("POST", "/sdk/v1/runs/1/output-sets", "outputs", ("run",)),
        ("POST", "/sdk/v1/runs/1/output-sets/2/seal", "outputs", ("run",)),
        ("POST", "/sdk/v1/runs/1/claim", "jobs", ("run",)),
        ("GET", "/v1/runs", "jobs", ("client", "api-key")),
        ("GET", "/v1/runs/7/logs", "jobs", ("client", "api-key")),
        ("GET", "/v1/runs/7/logs/stream", "jobs-watch", ("client", "api-key")),
        ("GET", "/v1/runs/7/stream", "jobs-watch", ("client", "api-key")),
        ("POST", "/v1/events/a/send", "jobs", ("client", "api-key")),
        ("PUT", "/api/v1/admin/partners/x", "jobs", ("client", "api-key")),
        ("POST", "/oauth/token", "issuer", ("anyone",)),
        ("GET", "/auth/realms/x/protocol/openid-connect/certs", "issuer", ("anyone",)),
        ("POST", "/api/v1/token", "issuer", ("anyone",)),
        ("POST", "/api/v1/token/verify", "gateway", ("client", "api-key")),
        ("GET", "/readyz", "gateway", ("anyone",)),
    ],
)
def test_a_path_leads_where_the_design_says(
    table: routes.Table, method: str, path: str, to: str, admits: tuple[str, ...]
) -> None:
    route = table.match(method, path).route
    assert route is not None
    assert (route.to, route.admits) == (to, admits)


@pytest.mark.parametrize(
    "path", ["/", "/api/x", "/api/v1", "/api/v1/jobsX", "/API/v1/jobs", "/sdk/v1/runs", "/v1/run", "/metrics"]
)
def test_what_the_table_does_not_name_is_nowhere(table: routes.Table, path: str) -> None:
    assert table.match("GET", path) == routes.Match()


def test_a_known_path_with_another_method_says_which_it_knows(table: routes.Table) -> None:
    assert table.match("DELETE", "/api/v1/jobs").allowed == ("GET", "POST", "HEAD")
    assert table.match("GET", "/api/v1/token/verify/").allowed == ("POST",)


def test_only_login_documentation_public_keys_and_health_are_open_to_anyone(table: routes.Table) -> None:
    opened = {route.path for route in table.routes if route.is_open}
    assert opened == {
        "/auth/realms/**",
        "/realms/**",
        "/oauth/token",
        "/api/v1/token",
        "/api/v2/token",
        "/api",
        "/api/openapi.json",
        "/api/assets/*",
        "/v1/webhook-keys",
        "/healthz",
        "/readyz",
    }


def test_run_tokens_open_the_executor_api_only(table: routes.Table) -> None:
    assert all(("run" in route.admits) == route.path.startswith("/sdk/") for route in table.routes)
    assert all(route.admits == ("run",) for route in table.routes if "run" in route.admits)


def test_the_external_api_is_marked(table: routes.Table) -> None:
    marked = {route.path for route in table.routes if route.external_api}
    names = ("jobs", "bundles", "partners", "output-sets")
    assert marked == {f"/api/v1/{name}/**" for name in names} | {"/api/v1/token/verify"}


@pytest.mark.parametrize(("app", "to"), [(gateway_app, "gateway"), (issuer_app, "issuer")])
def test_every_public_operation_matches_exactly_one_route(table: routes.Table, app: object, to: str) -> None:
    spec = app.create_app(None).extensions["openapi"].to_dict()  # type: ignore[attr-defined]
    operations = [
        (method.upper(), path.replace("{realm}", "example"))
        for path, item in spec["paths"].items()
        for method in item
        if method.upper() in routes.METHODS
    ]
    assert operations
    for method, path in operations:
        fitting = [route for route in table.routes if routes.Table([route]).match(method, path).route]
        assert [route.to for route in fitting] == [to], (method, path)


def test_routes_to_an_issuer_we_do_not_run_are_left_out(table: routes.Table) -> None:
    assert table.of({"jobs": "", "outputs": ""}).match("POST", "/oauth/token") == routes.Match()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "a list `routes` is expected"),
        ("routes: []", "a list `routes` is expected"),
        ("routes: [", "is not YAML"),
        ("routes: [7]", "route 1: an object is expected"),
        ("routes: [{path: /a, methods: [GET], to: jobs}]", "route 1: admits is missing"),
        ("routes: [{path: /a, methods: [GET], to: moon, admits: [run]}]", "route 1: to must be one of jobs"),
        ("routes: [{path: a, methods: [GET], to: jobs, admits: [run]}]", "a path begins with /"),
        ("routes: [{path: /a/**/b, methods: [GET], to: jobs, admits: [run]}]", "`**` only at its end"),
        ("routes: [{path: /a, methods: [HEAD], to: jobs, admits: [run]}]", "methods must be some of"),
        ("routes: [{path: /a, methods: GET, to: jobs, admits: [run]}]", "methods has the wrong type"),
        ("routes: [{path: /a, methods: [GET], to: jobs, admits: [service]}]", "admits must be some of"),
        ("routes: [{path: /a, methods: [GET], to: jobs, admits: [run, anyone]}]", "anyone cannot be mixed"),
        (
            "routes: [{path: /a, methods: [GET], to: jobs, admits: [run], x: 1}]",
            "x is not a field of a route",
        ),
        ("routes: [{path: /a, methods: [GET], to: jobs, admits: [run], body_bytes: true}]", "wrong type"),
        ("routes: [{path: /a, methods: [GET], to: jobs, admits: [run], timeout_seconds: 0}]", "positive"),
    ],
)
def test_a_faulty_table_is_refused_with_its_fault(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(text)
    with pytest.raises(routes.RoutesError) as raised:
        routes.load(path, TARGETS)
    assert fault in str(raised.value)


def test_all_faults_of_a_table_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text("routes: [{path: a, methods: [GET], to: jobs, admits: [run]}, 5]")
    with pytest.raises(routes.RoutesError) as raised:
        routes.load(path, TARGETS)
    assert len(raised.value.faults) == 2


def test_a_missing_table_says_so(tmp_path: Path) -> None:
    with pytest.raises(routes.RoutesError, match="cannot be read"):
        routes.load(tmp_path / "none.yaml", TARGETS)
