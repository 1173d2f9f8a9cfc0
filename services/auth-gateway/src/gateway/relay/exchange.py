"""One request on its way through the forward lane: admission, then the service, then the answer back.

It hears of three parties, in any order: the client (body, silence, departure), admission (at once, or from a
thread when a token is new), and the service. Whatever happens it ends once: `client.finished()`.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from common import ids
from common.logs import get_logger
from common.principal import Principal
from common.problems import Problem
from gateway import problems
from gateway.admission import Ask, Decision, Forward, Local, Refuse, is_attempt
from gateway.lane import ISSUER
from gateway.quotas import Share
from gateway.relay import writing
from gateway.relay.reading import Request
from gateway.relay.upstreams import Failure, UpstreamConnection
from gateway.routes import Route
from gateway.verdicts import Verdict

if TYPE_CHECKING:
    from gateway.relay.clients import ClientConnection

HELD_BYTES = 64 * 1024  # of a body whose service is not connected yet
BYTES_A_SECOND = 1024  # a body must come at least as quickly
CLIENT_LEFT = 499  # in logs and metrics only, as nginx has it
FOREVER = float("inf")
UNAUTHORIZED = 401
_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})


class Exchange:
    """A request and its answer. `body` is there from the start of a request that came whole."""

    route: Route | None = None
    caller: Principal | None = None
    status = 0  # of the answer, once it began
    has_ended = False
    closes = True  # the connection ends with this exchange
    deadline = FOREVER
    _patience = FOREVER
    _share: Share | None = None
    _forward: Forward | None = None
    _connection: UpstreamConnection | None = None
    _is_retried = False
    _is_local = False
    _answer_chunked = False
    _body_bytes = 0

    def __init__(self, client: "ClientConnection", request: Request, body: bytes = b"") -> None:
        self._client = client
        self._lane = lane = client.lane
        self.request = request
        offered = request.block.values.get("x-request-id")
        self.request_id = ids.request_id(offered) if offered else lane.new_request_id()
        self.started = lane.now()
        self.is_complete = request.length_bytes == len(body)  # everything of the request has come
        self._out: list[bytes] = []
        self._held: list[bytes] = []
        if body:
            self._held.append(body)
            self._body_bytes = len(body)

    @cached_property
    def address(self) -> str:
        """Where the request comes from."""
        forwarded_for = self.request.block.values.get("x-forwarded-for", "")
        return self._lane.address_of(self._client.peer, forwarded_for)

    # -- admission ---------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Ask admission."""
        try:
            self._ask()
        except Exception as error:  # the edge of the lane
            self._broke(error)

    def _within(self, step: Callable[..., None], *arguments: Any) -> None:
        """Take a step that was waited for, if anybody still cares."""
        if self.has_ended:
            return
        try:
            step(*arguments)
        except Exception as error:  # the edge of the lane
            self._broke(error)

    def _broke(self, error: Exception) -> None:
        """What went wrong unforeseen is logged and answered here."""
        get_logger().error("unexpected_error", exc_info=error, request_id=self.request_id)
        if self.status:
            self._client.abort()
        elif not self.has_ended:
            self.refuse(problems.internal_error())

    def _ask(self) -> None:
        lane, request = self._lane, self.request
        if not self.is_complete:
            self.deadline = lane.now() + lane.silence_seconds
        barred = lane.failures.barred_seconds(self.address) if lane.failures.bars_any else 0
        decision = lane.admission.consider(
            request.method, request.target, request.block, is_barred=barred > 0
        )
        if barred and is_attempt(decision, request.method):
            self.refuse(problems.too_many_failures(barred))
        elif isinstance(decision, Ask):
            known = partial(self._within, self._authenticated, decision)
            lane.in_thread(lane.admission.authenticate, decision.block.token, known)
        else:
            self._decided(decision)

    def _authenticated(self, ask: Ask, verdict: "Future[Verdict]") -> None:
        self._decided(self._lane.admission.conclude(ask, verdict.result()))

    def _decided(self, decision: Decision) -> None:
        """Count what was decided against its caller or its address."""
        self.route, self.caller = decision.route, decision.principal
        if self.caller is not None:
            accounts, per_hour = self._lane.accounts, decision.requests_per_hour
            if share := accounts.take(self.caller, per_hour):
                self._counted(decision, share)
            else:
                accounts.wait(self.caller, per_hour, partial(self._within, self._counted, decision))
        elif isinstance(decision, Refuse) and decision.is_failure:
            noted = partial(self._within, self._noted, decision)
            self._lane.in_thread(self._lane.failures.note, self.address, noted)
        else:
            self._go(decision)

    def _counted(self, decision: Decision, share: Share) -> None:
        self._share = share
        if share.is_spent:
            self.refuse(problems.quota_spent(max(1, share.reset_at - int(time.time()))))
        else:
            self._go(decision)

    def _noted(self, refusal: Refuse, noted: "Future[int]") -> None:
        barred_seconds = noted.result()
        self.refuse(problems.too_many_failures(barred_seconds) if barred_seconds else refusal.problem)

    def _go(self, decision: Decision) -> None:
        if isinstance(decision, Refuse):
            self.refuse(decision.problem)
        elif self._body_bytes and self._is_too_large():
            self.refuse(problems.body_too_large(decision.route.body_bytes))
        elif isinstance(decision, Local):
            self._is_local = True
            self._client.pause(False)
            self._serve_locally()
        else:
            self._forward = decision
            self._patience = decision.route.timeout_seconds
            if self.is_complete:
                self.deadline = self._lane.now() + self._patience
            self._lane.upstreams[decision.route.to].take(self)

    def _is_too_large(self) -> bool:
        return self.route is not None and self._body_bytes > self.route.body_bytes

    def _serve_locally(self) -> None:
        if self.is_complete:
            self.deadline = FOREVER
            self._lane.serve_locally(self, b"".join(self._held))
        else:
            self._invite()

    def _invite(self) -> None:
        if self.request.expects_continue:
            self._client.write(writing.CONTINUE)

    # -- the client --------------------------------------------------------------------------------------

    def body_came(self, piece: bytes) -> None:
        """Pass a piece of the body on, or hold it until there is somewhere to pass it."""
        if self.has_ended:
            return
        self._body_bytes += len(piece)
        if self._is_too_large() and self.route:
            self.refuse(problems.body_too_large(self.route.body_bytes))
            return
        least = self.started + self._lane.silence_seconds + self._body_bytes / BYTES_A_SECOND
        self.deadline = max(self.deadline, least)
        if self._connection:
            self._connection.send(self._framed(piece))
            return
        self._held.append(piece)
        if self._body_bytes > HELD_BYTES and not self._is_local:
            self._client.pause(True)

    def body_ended(self) -> None:
        """The whole request has come."""
        self.is_complete = True
        if self.has_ended:
            return
        self.deadline = self._lane.now() + self._patience
        if self._connection:
            if self.request.length_bytes is None:
                self._connection.send(writing.LAST_CHUNK)
        elif self._is_local:
            self._serve_locally()

    def body_broke(self) -> None:
        """What comes is no body: nothing behind us may take it for one."""
        if self.status:
            self._client.abort()
        elif not self.has_ended:
            self.refuse(problems.body_cut_short())

    def client_left(self) -> None:
        """The client is gone: what it asked for goes too."""
        if not self.has_ended:
            self._end(self.status or CLIENT_LEFT)

    def client_paused(self, paused: bool) -> None:
        """The client reads slower than the service writes."""
        if self._connection:
            self._connection.pause(paused)
        self.deadline = self._lane.now() + (self._lane.silence_seconds if paused else self._patience)

    def overdue(self) -> None:
        """Its deadline has passed."""
        if self.status:
            self._client.abort()
        elif not self.is_complete:
            self.refuse(problems.body_cut_short())
        else:
            self._log_failure("no answer in time")
            self.refuse(problems.gateway_timeout())

    def _framed(self, piece: bytes) -> bytes:
        return writing.chunk(piece) if self.request.length_bytes is None else piece

    # -- the service -------------------------------------------------------------------------------------

    def connected(self, connection: UpstreamConnection) -> None:
        """Send what there is of the request."""
        if self.has_ended or self._forward is None:
            connection.put_back()
            return
        self._connection = connection
        host_line = self._lane.upstreams[self._forward.route.to].host_line
        head = writing.request_head(self._forward, self.request, self.request_id, host_line)
        if self.request.has_body:
            head += b"".join(map(self._framed, self._held))
            if self.is_complete and self.request.length_bytes is None:
                head += writing.LAST_CHUNK
            self._held = []
            self._invite()
            self._client.pause(False)
        connection.ask(self, head, is_head=self.request.method == "HEAD")

    def answered(self, status: int, lines: bytes, body: bytes) -> None:
        """Pass on an answer that came at once."""
        self.status = status
        if status == UNAUTHORIZED:
            self._note_refusal()
        self.closes = self._client.must_close(self)
        own = self._own_lines()
        head = writing.answer_head(status, lines, own, chunked=False, closes=self.closes)
        self._client.write(head + body)
        self._let_go()
        self._end(status)

    def answer_began(self, status: int, lines: bytes, *, has_length: bool) -> None:
        """Pass the head on."""
        self.status = status
        if status == UNAUTHORIZED:
            self._note_refusal()
        bodyless = self.request.method == "HEAD" or status in (204, 304)
        self._answer_chunked = not (has_length or bodyless or self.request.is_http10)
        self.closes = self._client.must_close(self)
        own = self._own_lines()
        self._out.append(
            writing.answer_head(status, lines, own, chunked=self._answer_chunked, closes=self.closes)
        )

    def answer_came(self, piece: bytes) -> None:
        """Pass a piece on."""
        self._out.append(writing.chunk(piece) if self._answer_chunked else piece)

    def answer_flushed(self) -> None:
        """Everything that came at once goes on at once."""
        self.deadline = self._lane.now() + self._patience
        if self._out:
            self._client.write(b"".join(self._out))
            self._out.clear()

    def answer_ended(self) -> None:
        """Pass the end on; the connection may serve another if the service has read everything."""
        if self._answer_chunked:
            self._out.append(writing.LAST_CHUNK)
        self.answer_flushed()
        self._let_go()
        self._end(self.status)

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            (connection.release if self.is_complete else connection.close)()

    def _note_refusal(self) -> None:
        """Count a failed login against its address."""
        if self.route and self.route.to == ISSUER:
            self._lane.in_thread(self._lane.failures.note, self.address, lambda _: None)

    def upstream_failed(self, failure: Failure) -> None:
        """Try once more where nothing was done, else say so; an answer that began is cut."""
        self._connection = None
        if self.has_ended:
            return
        if self.status:
            self._client.abort()
        elif self._may_retry(failure) and self._forward:
            self._is_retried = True
            self._lane.upstreams[self._forward.route.to].take(self, fresh=True)
        else:
            self._log_failure(failure.value)
            late = failure is Failure.CONNECT_LATE
            self.refuse(problems.gateway_timeout() if late else problems.bad_gateway())

    def upstream_paused(self, paused: bool) -> None:
        """The service reads slower than the client writes."""
        self._client.pause(paused)

    def _may_retry(self, failure: Failure) -> bool:
        if self._is_retried or self.request.method not in _IDEMPOTENT:
            return False
        if failure is Failure.DROPPED:
            return not self.request.has_body
        return failure in (Failure.UNREACHED, Failure.CONNECT_LATE)

    def _log_failure(self, reason: str) -> None:
        to = self.route.to if self.route else ""
        get_logger().warning("upstream_failed", request_id=self.request_id, upstream=to, reason=reason)

    # -- the end -----------------------------------------------------------------------------------------

    def refuse(self, problem: Problem) -> None:
        """Answer in our own name."""
        self.closes = self._client.must_close(self)
        is_head = self.request.method == "HEAD"
        self._client.write(
            writing.problem(problem, self.request_id, self._own_lines(), closes=self.closes, is_head=is_head)
        )
        self._end(problem.status)

    def answered_locally(self, status: int, lines: bytes, body: bytes) -> None:
        """The app lane is done."""
        if self.has_ended:
            return
        self.closes = self._client.must_close(self)
        own = self._own_lines()
        head = writing.answer_head(status, lines, own, chunked=False, closes=self.closes)
        self._client.write(head + body)
        self._end(status, is_noted=True)

    def _own_lines(self) -> bytes:
        if self._share:
            return b"X-Request-Id: %b\r\n%b%b" % (
                self.request_id.encode("latin-1"),
                self._share.lines,
                self._lane.date.line(),
            )
        return b"X-Request-Id: %b\r\n%b" % (self.request_id.encode("latin-1"), self._lane.date.line())

    def _end(self, status: int, *, is_noted: bool = False) -> None:
        self.has_ended = True
        self.status = status
        self.deadline = FOREVER
        if self._connection:
            self._connection.close()
            self._connection = None
        self._held.clear()
        if not is_noted:
            self._lane.note(self)
        self._client.finished(self)
