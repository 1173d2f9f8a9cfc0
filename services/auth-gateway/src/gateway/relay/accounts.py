"""The hours of principals as this worker keeps them: requests are taken from Redis in small lots.

A lot is a thousandth of the quota, so that counting costs next to nothing and no worker sits on much; small
quotas are counted one by one. Redis never grants more than the quota, however many workers ask.
"""

from collections.abc import Callable
from concurrent.futures import Future

from common.logs import get_logger
from common.principal import Principal
from gateway.counters import Counted, Step
from gateway.quotas import HOUR_SECONDS, Quota, Quotas, Share

LARGEST_LOT = 500
MOST_ACCOUNTS = 50_000
Ask = Callable[[Step], Counted | None]
InThread = Callable[[Ask, Step, Callable[["Future[Counted | None]"], None]], None]
Then = Callable[[Share], None]


class Account:
    """What a principal has left of one hour's lot here, and who waits for the next lot."""

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self.ends_at = (quota.hour + 1) * HOUR_SECONDS
        self.used = 0  # by all workers, as far as we know
        self.held = 0
        self.waiting: list[Then] = []
        self.is_asking = False

    @property
    def lot(self) -> int:
        """How many to take at once."""
        usual = min(max(self.quota.limit // 1000, 1), LARGEST_LOT)
        return max(usual, len(self.waiting))

    def take(self) -> Share:
        """Take one of those held."""
        self.held -= 1
        limit = self.quota.limit
        return Share(limit=limit, remaining=limit - self.used + self.held, reset_at=self.ends_at)


class Accounts:
    """The accounts of one worker; its loop's alone. `in_thread` runs a step elsewhere and comes back."""

    def __init__(self, quotas: Quotas, timestamp: Callable[[], float], in_thread: InThread) -> None:
        self._quotas = quotas
        self._timestamp = timestamp
        self._in_thread = in_thread
        self._accounts: dict[tuple[str, str, str], Account] = {}

    def take(self, caller: Principal, requests_per_hour: int | None, then: Then) -> None:
        """Take a request from the caller's hour; go on with its share at once, or when Redis has answered."""
        account = self._account(caller, requests_per_hour)
        if account.held and not account.waiting:
            then(account.take())
            return
        account.waiting.append(then)
        if not account.is_asking:
            self._ask(account)

    def _account(self, caller: Principal, requests_per_hour: int | None) -> Account:
        name = (caller.kind, caller.issuer, caller.subject)
        limit = self._quotas.usual(caller.kind) if requests_per_hour is None else requests_per_hour
        account = self._accounts.get(name)
        if account is None or account.ends_at <= self._timestamp() or account.quota.limit != limit:
            if len(self._accounts) >= MOST_ACCOUNTS:
                self._accounts.clear()  # the lots in hand are forfeit
            account = self._accounts[name] = Account(self._quotas.quota(caller, requests_per_hour))
        return account

    def _ask(self, account: Account) -> None:
        account.is_asking = True
        step = account.quota.step(account.lot)
        self._in_thread(self._quotas.count, step, lambda done: self._answered(account, _result(done)))

    def _answered(self, account: Account, counted: Counted | None) -> None:
        account.is_asking = False
        if counted is None or not counted.granted:
            waiting, account.waiting = account.waiting, []
            share = account.quota.share(counted.used if counted else None)
            for then in waiting:
                then(share)
            return
        account.used, account.held = counted.used, account.held + counted.granted
        while account.waiting and account.held:
            account.waiting.pop(0)(account.take())
        if account.waiting and not account.is_asking:
            self._ask(account)


def _result(done: "Future[Counted | None]") -> Counted | None:
    """What was counted; nobody waits for ever because counting itself broke."""
    if error := done.exception():
        get_logger().error("unexpected_error", exc_info=error)
        return None
    return done.result()
