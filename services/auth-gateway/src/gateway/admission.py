"""May this request come in, and where does it go? Every lane of the gateway asks here and only here.

`consider()` decides by the request line, the route table, the verdict cache and the keys at hand: no I/O. It
answers `Ask` when that is not enough; then `authenticate()` finds out (keys may have to be fetched, API keys
looked up) and `conclude()` goes on. `decide()` is the three in a row, for a lane that may block.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

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
from gateway.keys import KeySet, KeysUnavailable
from gateway.revocations import Revocations
from gateway.routes import GATEWAY, Route, Table
from gateway.tokens import Accepted, InvalidToken, Issuer
from gateway.verdicts import Rejected, Unavailable, Verdict, Verdicts

KEY_PREFIX = "rl_"  # API keys, which are no JWTs

CHECKED = Counter("taxiway_gateway_tokens_checked", "Tokens that had to be checked; the others were known")


# What is made for every request is not frozen: freezing costs more than the rest of the decision.
@dataclass(slots=True)
class Place:
    """Where a request line leads. `target` is in its one normal form."""

    route: Route
    method: str
    target: str


@dataclass(slots=True)
class Forward:
    """Send it on: exactly this target and these headers, plus what the lane knows (length, request id).

    `principal`, `identity` and `signature` are absent on routes that ask for no token.
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


@dataclass(frozen=True, kw_only=True)
class Ask:
    """The token of this request is new to us, and no key at hand makes it good: `authenticate()` it and
    `conclude()`.
    """

    place: Place
    block: Block


Decision = Forward | Refuse | Local
_RUNS_ONLY = ("run",)
BELIEVED_SECONDS = 0.25  # so long a block of headers goes by the verdict it met last
KNOWN_LINES = 8192


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
        self._place = lru_cache(maxsize=KNOWN_LINES)(self._find_place)

    def decide(
        self, method: str, target: str, headers: Iterable[tuple[str, str]], *, barred_seconds: int = 0
    ) -> Decision:
        """Decide on a request by its raw target; may block for as long as an issuer takes to answer.

        An address that is barred for some seconds may come in as whom we know already, and try nothing.
        """
        block = Block(relayed.inbound(headers))
        decision = self.consider(method, target, block, is_barred=barred_seconds > 0)
        if barred_seconds and is_attempt(decision, method):
            return Refuse(problem=problems.too_many_failures(barred_seconds))
        if isinstance(decision, Ask):
            return self.conclude(decision, self.authenticate(decision.block.token))
        return decision

    def consider(self, method: str, target: str, block: Block, *, is_barred: bool = False) -> Decision | Ask:
        """Decide without I/O, or say that more must be known about the token.

        For an address that is barred no token is looked at that is not known.
        """
        place = self._place(method, target)
        if isinstance(place, Refuse):
            return place
        now = self._now()
        if place.route.is_open:
            return self._admit(place, block, None, now)
        verdict = block.verdict if now < block.believed_until else self._known(block, now)
        if verdict is None:
            return self._identify(place, block, now, is_barred=is_barred)
        return self._judge(place, block, verdict, now)

    def authenticate(self, token: str) -> Verdict:
        """Find out about a token, and remember it; fetches keys where they are missing."""
        CHECKED.inc()
        now = self._now()
        verdict = self._examine(token, now)
        self._verdicts.put(digest(token), verdict, now)
        return verdict

    def conclude(self, ask: Ask, verdict: Verdict) -> Decision:
        """Go on with what is known about the token."""
        return self._judge(ask.place, ask.block, verdict, self._now())

    def _find_place(self, method: str, target: str) -> Place | Refuse:
        try:
            normal = targets.parse(target)
        except targets.UnsafeTarget as error:
            return Refuse(problem=problems.unsafe_target(str(error)))
        match = self._table.match(method, normal.path)
        if match.route is None:
            problem = problems.wrong_method(match.allowed) if match.allowed else problems.no_route()
            return Refuse(problem=problem)
        return Place(match.route, method, normal.full)

    def _identify(self, place: Place, block: Block, now: float, *, is_barred: bool) -> Decision | Ask:
        token, route = block.token, place.route
        if not token:
            return Refuse(problem=problems.no_token(), route=route)
        if len(token) > tokens.MAX_TOKEN_BYTES:
            return Refuse(problem=problems.invalid_token(), route=route, is_failure=True)
        if route.external_api and not self._knows_clients and not _is_of_our_own(token):
            return Refuse(problem=problems.external_api_disabled(), route=route)
        verdict = None if is_barred else self._verified_at_once(token, now)
        if verdict is None:
            return Ask(place=place, block=block)
        self._verdicts.put(block.token_name, verdict, now)
        return self._judge(place, block, verdict, now)

    def _verified_at_once(self, token: str, now: float) -> Accepted | None:
        """Find a token good by the keys at hand; whatever else it is takes a second, closer look."""
        if token.startswith(KEY_PREFIX):
            return None
        try:
            verdict = tokens.verify(token, self._issuers, now, find=KeySet.held)
        except InvalidToken:
            return None
        CHECKED.inc()
        return verdict if self._still_counts(verdict) else None

    def _judge(self, place: Place, block: Block, verdict: Verdict, now: float) -> Decision:
        route = place.route
        if not isinstance(verdict, Accepted):
            return _refuse_unknown(route, verdict)
        if verdict.principal.kind not in route.admits:
            return _refuse(problems.wrong_kind(), route, verdict)
        if route.external_api and not verdict.has_scope:
            return _refuse(problems.missing_scope_claim(), route, verdict)
        return self._admit(place, block, verdict, now)

    def _known(self, block: Block, now: float) -> Verdict | None:
        """Find what we found out about the token lately; the block goes by a good verdict for a moment."""
        if not block.token:
            return None
        verdict = self._verdicts.get(block.token_name, now)
        if isinstance(verdict, Accepted):
            if not self._still_counts(verdict):
                self._verdicts.drop(block.token_name)
                return None
            block.verdict = verdict
            block.believed_until = min(now + BELIEVED_SECONDS, verdict.expires_at)
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

    def _admit(self, place: Place, block: Block, verdict: Accepted | None, now: float) -> Decision:
        route = place.route
        caller = verdict.principal if verdict else None
        own_quota = verdict.requests_per_hour if verdict else None
        if route.to == GATEWAY:
            return Local(route=route, principal=caller, requests_per_hour=own_quota)
        length = block.values.get("content-length")
        if length and length.isdecimal() and int(length) > route.body_bytes:
            return _refuse(problems.body_too_large(route.body_bytes), route, verdict)
        if verdict is None:
            return Forward(route, place.target, block)
        identity = verdict.identities.get(route.to) or self._identity(verdict, route.to)
        signature = identity.signature(place.method, place.target, int(now))
        return Forward(route, place.target, block, caller, own_quota, identity, signature)

    def _identity(self, verdict: Accepted, to: str) -> Identity:
        identity = verdict.identities[to] = Identity(verdict.principal, self._signing[to])
        return identity

    def _now(self) -> float:
        return self._clock.timestamp()


def _refuse_unknown(route: Route, verdict: Rejected | Unavailable) -> Refuse:
    if isinstance(verdict, Rejected):
        return Refuse(problem=problems.invalid_token(), route=route, is_failure=True)
    return Refuse(problem=verdict.problem, route=route)


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
            return decision.place.route.admits != _RUNS_ONLY
        case _:
            return False


def _is_of_our_own(token: str) -> bool:
    """Whether it looks like an API key or a run token, which do not depend on an OIDC issuer."""
    if token.startswith(KEY_PREFIX):
        return True
    try:
        return tokens.peek(token).get("iss") == tokens.RUN_ISSUER
    except InvalidToken:
        return False
