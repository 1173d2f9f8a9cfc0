"""May this request come in, and where does it go? Every lane of the gateway asks here and only here.

`consider()` decides by the request line, the route table and what the verdict cache knows: no I/O. It
answers `Ask` when the token is new; then `authenticate()` finds out (keys may have to be fetched) and
`conclude()` goes on. `decide()` is the three in a row, for a lane that may block.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import Counter

from common.clock import Clock
from common.database import Unavailable as DatabaseUnavailable
from common.logs import get_logger
from common.principal import SIGNATURE, Identity, Principal
from common.problems import Problem
from gateway import headers as relayed
from gateway import problems, targets, tokens
from gateway.headers import Block, Headers, digest
from gateway.key_desk import KeyDesk
from gateway.keys import KeysUnavailable
from gateway.revocations import Revocations
from gateway.routes import GATEWAY, Route, Table
from gateway.tokens import Accepted, InvalidToken, Issuer
from gateway.verdicts import Rejected, Unavailable, Verdict, Verdicts

KEY_PREFIX = "rl_"  # API keys, which are no JWTs

CHECKED = Counter("taxiway_gateway_tokens_checked", "Tokens that had to be checked; the others were known")


# What is made for every request is not frozen: freezing costs more than the rest of the decision.
@dataclass(slots=True)
class Forward:
    """Send it on: exactly this target and these headers, plus what the lane knows (length, request id).

    `identity` and `signature` are absent on routes that ask for no token.
    """

    route: Route
    target: str
    block: Block
    principal: Principal | None = None
    requests_per_hour: int | None = None
    identity: Identity | None = None
    signature: str = ""

    @property
    def headers(self) -> Headers:
        """What the service gets to see."""
        if self.identity is None:
            return relayed.to_upstream(self.block.values, keep_authorization=True)
        return (*self.block.upstream, *self.identity.headers, (SIGNATURE, self.signature))


@dataclass(frozen=True, kw_only=True)
class Refuse:
    """Answer with this problem. `is_failure` when the caller did not say properly who it is."""

    problem: Problem
    route: Route | None = None
    principal: Principal | None = None
    requests_per_hour: int | None = None
    is_failure: bool = False


@dataclass(frozen=True, kw_only=True)
class Local:
    """One of the gateway's own resources."""

    route: Route
    principal: Principal | None
    requests_per_hour: int | None = None


@dataclass(slots=True)
class Arrival:
    """A request whose route is found."""

    route: Route
    method: str
    target: str
    block: Block


@dataclass(frozen=True, kw_only=True)
class Ask:
    """The token of this request is new to us: `authenticate()` it and `conclude()`."""

    arrival: Arrival
    token: str


Decision = Forward | Refuse | Local
_RUNS_ONLY = ("run",)


class Admission:
    """The door's rules. `signing` has each receiver's key, `issuers` those whose tokens we believe."""

    def __init__(
        self,
        *,
        table: Table,
        issuers: Mapping[str, Issuer],
        signing: Mapping[str, Mapping[str, bytes]],
        verdicts: Verdicts,
        revocations: Revocations,
        keys: KeyDesk,
        clock: Clock,
    ) -> None:
        self._table = table
        self._issuers = issuers
        self._signing = signing
        self._verdicts = verdicts
        self._revocations = revocations
        self._keys = keys
        self._clock = clock
        self._knows_clients = any(name != tokens.RUN_ISSUER for name in issuers)

    def decide(
        self, method: str, target: str, headers: Iterable[tuple[str, str]], *, barred_seconds: int = 0
    ) -> Decision:
        """Decide on a request by its raw target; may block for as long as an issuer takes to answer.

        An address that is barred for some seconds may come in as whom we know already, and try nothing.
        """
        decision = self.consider(method, target, Block(relayed.inbound(headers)))
        if barred_seconds and is_attempt(decision, method):
            return Refuse(problem=problems.too_many_failures(barred_seconds))
        if isinstance(decision, Ask):
            return self.conclude(decision.arrival, self.authenticate(decision.token))
        return decision

    def consider(self, method: str, target: str, block: Block) -> Decision | Ask:
        """Decide without I/O, or say that the token is new."""
        try:
            normal = targets.parse(target)
        except targets.UnsafeTarget as error:
            return Refuse(problem=problems.unsafe_target(str(error)))
        match = self._table.match(method, normal.path)
        if match.route is None:
            problem = problems.wrong_method(match.allowed) if match.allowed else problems.no_route()
            return Refuse(problem=problem)
        arrival = Arrival(match.route, method, normal.full, block)
        return self._admit(arrival, None) if match.route.is_open else self._identify(arrival)

    def authenticate(self, token: str) -> Verdict:
        """Find out about a token, and remember it; fetches keys where they are missing."""
        CHECKED.inc()
        now = self._now()
        verdict = self._examine(token, now)
        self._verdicts.put(digest(token), verdict, now)
        return verdict

    def conclude(self, arrival: Arrival, verdict: Verdict) -> Decision:
        """Go on with what is known about the token."""
        route = arrival.route
        match verdict:
            case Rejected():
                return Refuse(problem=problems.invalid_token(), route=route, is_failure=True)
            case Unavailable():
                return Refuse(problem=verdict.problem, route=route)
        caller = verdict.principal
        if caller.kind not in route.admits:
            return _refuse(problems.wrong_kind(), route, verdict)
        if route.external_api and not verdict.has_scope:
            return _refuse(problems.missing_scope_claim(), route, verdict)
        return self._admit(arrival, verdict)

    def _identify(self, arrival: Arrival) -> Decision | Ask:
        token = arrival.block.token
        if not token:
            return Refuse(problem=problems.no_token(), route=arrival.route)
        if len(token) > tokens.MAX_TOKEN_BYTES:
            return Refuse(problem=problems.invalid_token(), route=arrival.route, is_failure=True)
        if arrival.route.external_api and not self._knows_clients and not _is_of_our_own(token):
            return Refuse(problem=problems.external_api_disabled(), route=arrival.route)
        verdict = self._known(arrival.block.token_name)
        return self.conclude(arrival, verdict) if verdict else Ask(arrival=arrival, token=token)

    def _known(self, name: bytes) -> Verdict | None:
        verdict = self._verdicts.get(name, self._now())
        if isinstance(verdict, Accepted) and not self._still_counts(verdict):
            self._verdicts.drop(name)
            return None
        return verdict

    def _still_counts(self, verdict: Accepted) -> bool:
        """Whether its key was not withdrawn and it was not revoked."""
        issuer = self._issuers.get(verdict.issuer)  # API keys have none
        is_held = issuer is None or issuer.keys.holds(verdict.key_thumbprint)
        return is_held and self._revocations.trusts(verdict)

    def _examine(self, token: str, now: float) -> Verdict:
        try:
            if token.startswith(KEY_PREFIX):
                return self._keys.verify(token)
            verdict = tokens.verify(token, self._issuers, now)
            if self._revocations.revokes(verdict):
                raise InvalidToken("revoked")
        except InvalidToken as error:
            get_logger().info("token_rejected", reason=str(error))
            return Rejected(reason=str(error))
        except KeysUnavailable:
            return Unavailable(problem=problems.issuer_unavailable())
        except DatabaseUnavailable:
            return Unavailable(problem=problems.unavailable())
        return verdict

    def _admit(self, arrival: Arrival, verdict: Accepted | None) -> Decision:
        route = arrival.route
        caller = verdict.principal if verdict else None
        own_quota = verdict.requests_per_hour if verdict else None
        if route.to == GATEWAY:
            return Local(route=route, principal=caller, requests_per_hour=own_quota)
        length = arrival.block.values.get("content-length", "")
        if length.isdecimal() and int(length) > route.body_bytes:
            return _refuse(problems.body_too_large(route.body_bytes), route, verdict)
        if verdict is None:
            return Forward(route, arrival.target, arrival.block)
        identity = self._identity(verdict, route.to)
        signature = identity.signature(arrival.method, arrival.target, int(self._now()))
        return Forward(route, arrival.target, arrival.block, caller, own_quota, identity, signature)

    def _identity(self, verdict: Accepted, to: str) -> Identity:
        identity = verdict.identities.get(to)
        if identity is None:
            identity = verdict.identities[to] = Identity(verdict.principal, self._signing[to])
        return identity

    def _now(self) -> float:
        return self._clock.timestamp()


def _refuse(problem: Problem, route: Route, verdict: Accepted | None) -> Refuse:
    return Refuse(
        problem=problem,
        route=route,
        principal=verdict.principal if verdict else None,
        requests_per_hour=verdict.requests_per_hour if verdict else None,
    )


def is_attempt(decision: Decision | Ask, method: str) -> bool:
    """Whether it depends on a token or login that nobody has found good yet, and that may be a guess.

    Nobody guesses our signature: who fails at an address keeps no executor there from its work.
    """
    match decision:
        case Forward():
            return decision.principal is None and method == "POST"
        case Refuse():
            return decision.is_failure
        case Ask():
            return decision.arrival.route.admits != _RUNS_ONLY
        case _:
            return False


def _is_of_our_own(token: str) -> bool:
    """Whether it looks like an API key or a run token, which do not depend on an OIDC issuer."""
    if token.startswith(KEY_PREFIX):
        return True
    try:
        return tokens.peek(token)[1].get("iss") == tokens.RUN_ISSUER
    except InvalidToken:
        return False
