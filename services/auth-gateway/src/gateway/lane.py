"""The plain lane: a WSGI layer before the gateway's own Flask application. The reference for faster ones."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from common import ids, logs, metrics
from common import problems as rendering
from common.clock import Clock
from common.connections import PATIENCE
from common.logs import get_logger
from common.principal import Principal
from common.problems import Problem
from gateway import problems
from gateway.admission import Admission, Decision, Forward, Local, Refuse
from gateway.forward import Answer, Body, Upstreams
from gateway.quotas import Limits
from gateway.routes import METHODS, Route

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ISSUER = "issuer"  # the upstream where logins go
PRINCIPAL = "taxiway.principal"  # where the lane leaves the caller for the gateway's own views


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request on its way through the lane, and what its log line needs."""

    request_id: str
    method: str
    path: str
    address: str
    started: float


class _Head:
    """Starts an answer with what every answer to this caller carries."""

    def __init__(self, start_response: "StartResponse") -> None:
        self._start_response = start_response
        self.headers: list[tuple[str, str]] = []

    def __call__(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        return self._start_response(status, [*headers, *self.headers], exc_info)


class Lane:
    """Asks admission about every request; then answers, forwards, or hands it to `local`."""

    def __init__(
        self,
        local: "WSGIApplication",
        admission: Admission,
        upstreams: Upstreams,
        limits: Limits,
        clock: Clock,
        *,
        client_silence_seconds: float,
    ) -> None:
        self._local = local
        self._admission = admission
        self._upstreams = upstreams
        self._limits = limits
        self._clock = clock
        self._client_silence_seconds = client_silence_seconds

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        exchange = self._begin(environ)
        head = _Head(start_response)
        try:
            return self._answer(exchange, environ, head)
        except Exception as error:  # the edge of the lane
            get_logger().error("unexpected_error", exc_info=error, path=exchange.path)
            return self._refuse(exchange, Refuse(problem=problems.internal_error()), environ, head)

    def _begin(self, environ: "WSGIEnvironment") -> Exchange:
        if be_patient := environ.get(PATIENCE):
            be_patient(self._client_silence_seconds)
        request_id = ids.request_id(environ.get("HTTP_X_REQUEST_ID"))
        environ["HTTP_X_REQUEST_ID"] = request_id
        logs.bind(request_id=request_id)
        return Exchange(
            request_id=request_id,
            method=environ["REQUEST_METHOD"],
            path=raw_target(environ).partition("?")[0][:500],
            address=self._limits.proxies.client_of(
                environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR", "")
            ),
            started=self._clock.monotonic(),
        )

    def _answer(self, exchange: Exchange, environ: "WSGIEnvironment", head: _Head) -> Iterable[bytes]:
        decision = self._counted(self._decide(exchange, environ), head)
        match decision:
            case Local():
                environ[PRINCIPAL] = decision.principal
                environ["REMOTE_ADDR"] = exchange.address  # for the audit
                return self._local(environ, head)
            case Refuse():
                return self._refuse(exchange, decision, environ, head)
            case Forward():
                return self._forward(exchange, decision, environ, head)

    def _decide(self, exchange: Exchange, environ: "WSGIEnvironment") -> Decision:
        failures = self._limits.failures
        decision = self._admission.decide(
            exchange.method,
            raw_target(environ),
            raw_headers(environ),
            barred_seconds=failures.barred_seconds(exchange.address),
        )
        if isinstance(decision, Refuse) and decision.is_failure:
            barred_seconds = failures.note(exchange.address)
            if barred_seconds:  # another worker counted up to the limit
                return Refuse(problem=problems.too_many_failures(barred_seconds), route=decision.route)
        return decision

    def _counted(self, decision: Decision, head: _Head) -> Decision:
        """Take the request from its caller's hour; one too many is refused, whatever was decided."""
        caller = decision.principal
        if caller is None:
            return decision
        share = self._limits.quotas.take(caller, decision.requests_per_hour)
        head.headers = share.headers
        if not share.is_spent:
            return decision
        wait = share.reset_at - int(self._clock.now().timestamp())
        problem = problems.quota_spent(max(1, wait))
        return Refuse(problem=problem, route=decision.route, principal=caller)

    def _forward(
        self,
        exchange: Exchange,
        forward: Forward,
        environ: "WSGIEnvironment",
        start_response: "StartResponse",
    ) -> Iterable[bytes]:
        try:
            answer = self._upstreams.send(forward, exchange.method, exchange.request_id, body_of(environ))
        except Problem as problem:
            get_logger().warning(
                "upstream_failed", upstream=forward.route.to, reason=repr(problem.__cause__)[:300]
            )
            refusal = Refuse(problem=problem, route=forward.route, principal=forward.principal)
            return self._refuse(exchange, refusal, environ, start_response)
        if answer.status == HTTPStatus.UNAUTHORIZED and forward.route.to == ISSUER:
            self._limits.failures.note(exchange.address)
        start_response(_status_line(answer.status), [*answer.headers, ("X-Request-Id", exchange.request_id)])
        return _Noted(answer, lambda: self._note(exchange, answer.status, forward.route, forward.principal))

    def _refuse(
        self, exchange: Exchange, refusal: Refuse, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        response = rendering.render(refusal.problem, exchange.request_id)
        response.headers["X-Request-Id"] = exchange.request_id
        self._note(exchange, response.status_code, refusal.route, refusal.principal)
        return response(environ, start_response)

    def _note(self, exchange: Exchange, status: int, route: Route | None, caller: Principal | None) -> None:
        seconds = self._clock.monotonic() - exchange.started
        path = route.path if route else "(none)"
        method = exchange.method if exchange.method in (*METHODS, "HEAD") else "(other)"
        metrics.REQUESTS.labels("gateway", method, path, str(status)).inc()
        metrics.SECONDS.labels("gateway", path).observe(seconds)
        get_logger().info(
            "request",
            request_id=exchange.request_id,
            method=exchange.method,
            path=exchange.path,
            route=path,
            status=status,
            ms=round(seconds * 1000, 1),
            client=caller.client_id or caller.subject if caller else "",
        )


class _Noted:
    """An answer on its way to the client; its log line is written when it ends, however it ends."""

    def __init__(self, answer: Answer, note: Any) -> None:
        self._answer = answer
        self._note = note

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._answer)

    def close(self) -> None:
        self._answer.close()
        self._note()


def raw_target(environ: "WSGIEnvironment") -> str:
    """The request target as it came over the wire; only a server that hides it gets it put together again."""
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    if raw:
        return str(raw)
    query = environ.get("QUERY_STRING", "")
    return str(environ.get("PATH_INFO", "")) + (f"?{query}" if query else "")


def raw_headers(environ: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The request's headers. WSGI cannot tell `-` from `_`; gunicorn drops names with `_` beforehand."""
    for name, value in environ.items():
        if name.startswith("HTTP_"):
            yield name[5:].replace("_", "-").lower(), value
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            yield name.replace("_", "-").lower(), environ[name]


def body_of(environ: Mapping[str, Any]) -> Body:
    """The request's body as it was announced; `Transfer-Encoding` wins over a length (RFC 9112 §6.3)."""
    if environ.get("HTTP_TRANSFER_ENCODING"):
        return Body(source=environ["wsgi.input"], length_bytes=None)
    length = environ.get("CONTENT_LENGTH") or "0"
    return Body(source=environ["wsgi.input"], length_bytes=int(length) if length.isdecimal() else 0)


def _status_line(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} Unknown"
