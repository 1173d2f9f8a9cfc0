"""The hours of principals as this worker keeps them: requests are taken from Redis in small lots.

A lot is a thousandth of the quota, so that counting costs next to nothing and no worker sits on much; small
quotas are counted one by one. Redis never grants more than the quota, however many workers ask. Who comes
while Redis is asked for others waits for the next round trip, and shares it.
"""

from collections.abc import Callable
from concurrent.futures import Future
from itertools import islice

from common.logs import get_logger
from common.principal import Principal
from gateway.counters import MOST_STEPS, Counted, Step
from gateway.quotas import HOUR_SECONDS, Quota, Quotas, Share

LARGEST_LOT = 500
MOST_ACCOUNTS = 10_000
Answers = list[Counted] | None
Ask = Callable[[list[Step]], Answers]
InThread = Callable[[Ask, list[Step], Callable[["Future[Answers]"], None]], None]
Then = Callable[[Share], None]


class Account:
    """What a principal has left of one hour's lot here, and who waits for the next lot."""

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self.ends_at = (quota.hour + 1) * HOUR_SECONDS
        self.used = 0  # by all workers, as far as we know
        self.held = 0
        self.waiting: list[Then] = []

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

    def answer(self, counted: Counted | None) -> None:
        """Give those who wait what was granted. What is spent, or could not be counted, all of them hear."""
        if counted and counted.granted:
            self.used, self.held = counted.used, self.held + counted.granted
            share = None
        else:
            share = self.quota.share(counted.used if counted else None)
        while self.waiting and (share or self.held):
            self.waiting.pop(0)(share or self.take())


class Accounts:
    """The accounts of one worker; its loop's alone. `in_thread` runs a step elsewhere and comes back."""

    def __init__(self, quotas: Quotas, timestamp: Callable[[], float], in_thread: InThread) -> None:
        self._quotas = quotas
        self._timestamp = timestamp
        self._in_thread = in_thread
        self._accounts: dict[tuple[str, str, str], Account] = {}
        self._due: dict[Account, None] = {}  # somebody waits for their next lot; in order
        self._is_asking = False

    def take(self, caller: Principal, requests_per_hour: int | None) -> Share | None:
        """Take a request from the caller's hour if one is at hand; else `wait()` for it."""
        account = self._account(caller, requests_per_hour)
        return account.take() if account.held and not account.waiting else None

    def wait(self, caller: Principal, requests_per_hour: int | None, then: Then) -> None:
        """Take a request from the caller's hour, and go on with its share when Redis has answered."""
        account = self._account(caller, requests_per_hour)
        account.waiting.append(then)
        self._due[account] = None
        self._ask()

    def _account(self, caller: Principal, requests_per_hour: int | None) -> Account:
        name = (caller.kind, caller.issuer, caller.subject)
        limit = self._quotas.usual(caller.kind) if requests_per_hour is None else requests_per_hour
        account = self._accounts.get(name)
        if account is None or account.ends_at <= self._timestamp() or account.quota.limit != limit:
            if len(self._accounts) >= MOST_ACCOUNTS:
                del self._accounts[next(iter(self._accounts))]  # what it had in hand is forfeit
            account = self._accounts[name] = Account(self._quotas.quota(caller, requests_per_hour))
        return account

    def _ask(self) -> None:
        if self._is_asking or not self._due:
            return
        self._is_asking = True
        asked = list(islice(self._due, MOST_STEPS))
        for account in asked:
            del self._due[account]
        steps = [account.quota.step(account.lot) for account in asked]
        self._in_thread(self._quotas.count_all, steps, lambda done: self._answered(asked, _result(done)))

    def _answered(self, asked: list[Account], counted: Answers) -> None:
        self._is_asking = False
        for place, account in enumerate(asked):
            account.answer(counted[place] if counted else None)
            if account.waiting:
                self._due[account] = None
        self._ask()


def _result(done: "Future[Answers]") -> Answers:
    """What was counted; nobody waits for ever because counting itself broke."""
    if error := done.exception():
        get_logger().error("unexpected_error", exc_info=error)
        return None
    return done.result()
