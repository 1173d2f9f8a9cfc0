"""The shell of every web service: one error renderer, one way in, one log line a request.

`create_app()` receives everything it needs. A view declares on its Blueprint who may call it; a request is
authenticated and admitted before its body is looked at, and a view that declares nothing is never reached.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import wraps
from typing import Any

import flask_smorest
from flask import Flask, Request, Response, g, request
from flask.globals import app_ctx, request_ctx
from werkzeug.exceptions import HTTPException

from common import health, ids, logs, metrics, openapi, principal, problems
from common.clock import Clock
from common.database import Unavailable
from common.inputs import read_body
from common.logs import get_logger
from common.objects import StorageUnavailable
from common.principal import Principal
from common.problems import Problem

MAX_BODY_BYTES = 1024 * 1024
CLIENTS = ("client", "api-key")
ErrorTable = Mapping[type[Exception], Callable[[Any], Problem]]


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may call a view. All of `scopes`, and one of `any_scope` where given, and one of `roles`.

    Whoever has the role `or_role` needs none of them.

    `anyone` is for the few views that ask for no identity at all (a token endpoint, a key set).
    """

    anyone: bool = False
    kinds: tuple[str, ...] = CLIENTS
    scopes: tuple[str, ...] = ()
    any_scope: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    or_role: str = ""

    def check(self, caller: Principal) -> None:
        """Raise 403 unless the caller is admitted."""
        if caller.kind not in self.kinds:
            raise problems.forbidden("This kind of token is not accepted here", "wrong-kind-of-token")
        if self.or_role and self.or_role in caller.roles:
            return
        missing = set(self.scopes) - caller.scopes
        if missing or (self.any_scope and not set(self.any_scope) & caller.scopes):
            raise insufficient_scopes((*self.scopes, *self.any_scope))
        if self.roles and not set(self.roles) & caller.roles:
            raise problems.forbidden("This needs the role " + " or ".join(self.roles), "missing-role")


def insufficient_scopes(scopes: Sequence[str]) -> Problem:
    """403 with the challenge of RFC 6750 §3.1."""
    challenge = f'Bearer realm="taxiway", error="insufficient_scope", scope="{" ".join(scopes)}"'
    return problems.forbidden("Insufficient scopes", "insufficient-scopes", challenge)


class Blueprint(openapi.DocumentedBlueprint):
    """A group of views of one feature; declares the status of faulty input and who may call each view."""

    def __init__(self, name: str, import_name: str, *, faulty_status: int = 400, **options: Any) -> None:
        super().__init__(name, import_name, **options)
        self._faulty_status = faulty_status

    def arguments(self, schema: Any, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Have a view's JSON body read, by one schema for all requests."""
        made = schema() if isinstance(schema, type) else schema
        document = super().arguments(made, **options)

        def read(view: Callable[..., Any]) -> Callable[..., Any]:
            @wraps(document(view))
            def reading(*given: Any, **named: Any) -> Any:
                return view(*given, read_body(request_ctx.request, made, self._faulty_status), **named)

            return reading

        return read

    def admits(self, **access: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare a view's Access; shown in OpenAPI and enforced before the body is read."""
        declared = Access(**access)

        def declare(view: Callable[..., Any]) -> Callable[..., Any]:
            shown = self.needs(asdict(declared), self._faulty_status)(view)
            shown.access = declared  # type: ignore[attr-defined]
            return shown

        return declare


class Api(flask_smorest.Api):
    """flask-smorest with our error shape: its own handler drops headers (`Allow`, `Retry-After`)."""

    ERROR_SCHEMA = None
    DEFAULT_ERROR_RESPONSE_NAME = None  # every error answer is documented by its own status

    def handle_http_exception(self, error: HTTPException) -> Response:
        return problems.render(problems.of_http(error), g.get("request_id", ""))

    def _register_responses(self) -> None:
        self.spec.components.schema("Problem", problems.SCHEMA)


class App(Flask):
    """Flask, whose views are plain functions: it would ask several times a request whether they are async."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func


class SignedHeaders:
    """Authenticates requests by the gateway's signature: the one place a service trusts `X-Auth-*`."""

    def __init__(self, keys: Mapping[str, bytes], clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    def __call__(self, req: Request) -> Principal:
        now = int(self._clock.timestamp())
        try:
            return principal.verify(_identity(req.environ), req.method, raw_target(req), self._keys, now)
        except principal.SignatureStale as error:
            # It waited at our door for longer than a signature is good: no fault of the caller's, whose
            # token is as good as ever.
            get_logger().warning("signature_refused", reason=str(error))
            raise _try_again("The call waited for too long. Try again.") from None
        except principal.SignatureError as error:
            get_logger().warning("signature_refused", reason=str(error))
            raise problems.unauthorized("This address is reached through the gateway only") from None


def _identity(environ: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (name[5:].replace("_", "-").lower(), value)
        for name, value in environ.items()
        if name.startswith("HTTP_X_AUTH_")
    ]


def raw_target(req: Request) -> str:
    """The request target as it came over the wire, with its query."""
    raw = req.environ.get("RAW_URI") or req.environ.get("REQUEST_URI")
    if raw:
        return str(raw)
    query = req.query_string.decode("latin-1")
    return req.path + (f"?{query}" if query else "")


def current_principal() -> Principal:
    """The caller of the request at hand."""
    caller: Principal = g.principal
    return caller


def create_app(
    *,
    name: str,
    title: str,
    authenticate: Callable[[Request], Principal],
    blueprints: Sequence[Blueprint],
    errors: ErrorTable,
    probes: Mapping[str, health.Probe],
    clock: Clock,
    services: Any = None,
    names_probes: bool = True,
) -> Flask:
    """Build a service's Flask application; views find `services` in `current_app.extensions["services"]`.

    `names_probes=False` keeps the names of dependencies off a public `/readyz`.
    """
    app = App(name, static_folder=None)
    app.url_map.strict_slashes = False  # with and without a trailing slash, never a redirect
    app.url_map.merge_slashes = False
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        API_TITLE=title,
        API_VERSION="v1",
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX=None,
    )
    app.extensions["services"] = services
    health.register(app, probes, names=names_probes)
    _register_requests(app, name, authenticate, clock)
    _register_errors(app, errors)
    api = Api(app)
    bearer = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    api.spec.components.security_scheme("bearer", bearer)
    for blueprint in blueprints:
        api.register_blueprint(blueprint)
    app.extensions["openapi"] = openapi.Document(api.spec)
    return app


def _register_requests(
    app: Flask, name: str, authenticate: Callable[[Request], Principal], clock: Clock
) -> None:
    logger = get_logger()

    @app.before_request
    def begin() -> None:
        req, own = request_ctx.request, app_ctx.g  # `request` and `g` are looked up anew at each use
        own.started = clock.monotonic()
        own.request_id = ids.request_id(req.environ.get("HTTP_X_REQUEST_ID"))
        logs.bind(request_id=own.request_id)
        if req.endpoint is None or req.blueprint == "health":
            return
        access: Access | None = getattr(app.view_functions[req.endpoint], "access", None)
        if access is None:
            raise RuntimeError(f"{req.endpoint} declares no access")
        if access.anyone:
            return
        own.principal = caller = authenticate(req)
        if caller.run:
            logs.bind(request_id=own.request_id, run=caller.run)
        access.check(caller)

    @app.after_request
    def end(response: Response) -> Response:
        response.headers.setdefault("X-Request-Id", app_ctx.g.get("request_id", ""))
        if request_ctx.request.blueprint != "health":
            _note(response, name, clock.monotonic(), logger)
        return response


def _note(response: Response, service: str, now: float, logger: Any) -> None:
    req, own = request_ctx.request, app_ctx.g
    seconds = now - own.get("started", now)
    route = req.url_rule.rule if req.url_rule else "(none)"
    metrics.observe(service, req.method, route, response.status_code, seconds)
    if not logger.is_enabled_for(logging.INFO):
        return
    caller = own.get("principal")
    logger.info(
        "request",
        method=req.method,
        path=req.path,
        route=route,
        status=response.status_code,
        ms=round(seconds * 1000, 1),
        client=caller.client_id or caller.subject if caller else "",
    )


def _register_errors(app: Flask, errors: ErrorTable) -> None:
    def answer(problem: Problem) -> Response:
        return problems.render(problem, g.get("request_id", ""))

    def mapped(to_problem: Callable[[Any], Problem]) -> Callable[[Exception], Response]:
        return lambda error: answer(to_problem(error))

    def unexpected(error: Exception) -> Response:
        get_logger().error("unexpected_error", exc_info=error, path=request.path)
        return answer(Problem(status=500, detail=problems.SENTENCES[500]))

    app.register_error_handler(Problem, answer)
    app.register_error_handler(Exception, unexpected)
    table: dict[type[Exception], Callable[[Any], Problem]] = {
        Unavailable: _unavailable,
        StorageUnavailable: _unavailable,
        **errors,
    }
    for kind, to_problem in table.items():
        app.register_error_handler(kind, mapped(to_problem))


def _unavailable(error: Exception) -> Problem:
    get_logger().warning("dependency_unavailable", kind=type(error).__name__, error=str(error)[:300])
    return _try_again("A part we depend on is not answering. Try again.")


def _try_again(detail: str) -> Problem:
    return Problem(status=503, detail=detail, headers={"Retry-After": "1"})
