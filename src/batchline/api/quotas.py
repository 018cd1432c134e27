"""The limits of each API key: requests per second, and items per UTC day.

The items of a day are counted in memory, and added to the database once a second. So each process
learns what the others have counted, and a request costs no query.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from datetime import UTC, date, datetime, timedelta

import structlog

from batchline.access_errors import QuotaExceeded, RateLimited, Unauthorized
from batchline.api.rates import Rates, policy
from batchline.constants import KEY_USED_INTERVAL, USAGE_INTERVAL
from batchline.db.cruds import usage
from batchline.db.cruds.keys import ApiKey
from batchline.db.cruds.usage import Use
from batchline.db.database import Database
from batchline.errors import BatchlineError, CommitUnknown

log = structlog.get_logger(__name__)

SECONDS_OF_DAY = 86_400


def _now() -> datetime:
    return datetime.now(UTC)


class Owner:
    """The API key for which a request registers items.

    Args:
        find: returns the key with a hash, unless it has been revoked.
    """

    def __init__(
        self, key: ApiKey, quotas: "Quotas", find: Callable[[str], Awaitable[ApiKey | None]]
    ) -> None:
        self.key_id = key.id
        self._key = key
        self._quotas = quotas
        self._find = find
        self._taken_on = quotas.today()

    async def check(self) -> None:
        """Check that a request that takes long may go on.

        Raises:
            Unauthorized: the key has been revoked since the request began.
        """
        if await self._find(self._key.sha256) is None:
            raise Unauthorized("the API key has been revoked", hint="use another API key")

    def take(self, items: int) -> int:
        """Count items that are to be stored, and return how many of them may be."""
        self._taken_on = self._quotas.today()
        return self._quotas.take(self._key, items)

    def give_back(self, items: int) -> None:
        """Take back items that were not stored."""
        self._quotas.give_back(self._key, items, self._taken_on)

    def exceeded(self) -> QuotaExceeded:
        """Return the error of a key without items for today."""
        return self._quotas.exceeded(self._key)


class Quotas:
    """Counts for the coroutines of one event loop.

    Args:
        thread: writes to the database, one piece of work after the other. What else it reads of the
            counts is passed to `learn` in the same order.
        clock: returns the time in seconds.
        now: returns the time of day in UTC.
    """

    def __init__(
        self,
        database: Database,
        thread: Executor,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._database = database
        self._thread = thread
        self._clock = clock
        self._now = now
        self._rates = Rates(clock)
        self._stored: dict[tuple[int, date], int] = {}  # by all processes
        self._unsaved: Counter[tuple[int, date]] = Counter()  # by this one since then
        self._saving: Counter[tuple[int, date]] = Counter()
        self._used_at: dict[int, float] = {}
        self._used: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._has_failed = False

    def admit(self, key: ApiKey, *, registers: bool) -> None:
        """Count a request before its body is read.

        Raises:
            RateLimited: the key has sent too many requests.
            QuotaExceeded: the request would register new items, and the key has none left today.
        """
        now = self._clock()
        if now - self._used_at.get(key.id, -math.inf) >= KEY_USED_INTERVAL:
            self._used_at[key.id] = now
            self._used.add(key.id)
            self._save_later()
        if key.rate is not None and (seconds := self._rates.take(key.id, key.rate)):
            raise RateLimited(
                f"the API key may send {key.rate:g} requests per second",
                hint="send the request again after Retry-After seconds",
                headers={"Retry-After": str(math.ceil(seconds)), **self.fields(key)},
            )
        if registers and key.items_per_day is not None and self._left(key) < 1:
            raise self.exceeded(key)

    def take(self, key: ApiKey, items: int) -> int:
        """Count items that are to be stored, and return how many of them may be."""
        if key.items_per_day is None:
            return items
        taken = min(items, max(0, self._left(key)))
        if taken:
            self._unsaved[key.id, self.today()] += taken
            self._save_later()
        return taken

    def give_back(self, key: ApiKey, items: int, taken_on: date) -> None:
        """Take back items that were not stored. The next day may have begun since they counted."""
        if key.items_per_day is not None and items:
            self._unsaved[key.id, taken_on] -= items
            self._save_later()

    def exceeded(self, key: ApiKey) -> QuotaExceeded:
        """Return the error of a key without items for today."""
        return QuotaExceeded(
            f"the API key may register {key.items_per_day} items per UTC day",
            hint="send the rows again tomorrow, or ask for a higher limit",
            headers={"Retry-After": str(self._until_tomorrow()), **self.fields(key)},
        )

    def fields(self, key: ApiKey) -> dict[str, str]:
        """Return the header fields that tell a client its limits, if it has any."""
        policies, states = [], []
        if key.rate is not None:
            requests, seconds = policy(key.rate)
            left, until = self._rates.left(key.id, key.rate)
            policies.append(f'"requests";q={requests};w={seconds}')
            states.append(f'"requests";r={left};t={until}')
        if key.items_per_day is not None:
            policies.append(f'"items";q={key.items_per_day};w={SECONDS_OF_DAY};qu="items"')
            states.append(f'"items";r={max(0, self._left(key))};t={self._until_tomorrow()}')
        if not states:
            return {}
        return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}

    def today(self) -> date:
        """Return the UTC day."""
        return self._now().date()

    def learn(self, stored: Use) -> None:
        """Take over what the database has."""
        today = self.today()
        self._stored = {which: count for which, count in self._stored.items() if which[1] == today}
        self._stored.update(stored)

    async def close(self) -> None:
        """Save what is not saved yet."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            await self._task
        await self._save()
        if self._timer is not None:
            self._timer.cancel()

    def _left(self, key: ApiKey) -> int:
        which = key.id, self.today()
        used = self._stored.get(which, 0) + self._saving[which] + self._unsaved[which]
        return (key.items_per_day or 0) - used

    def _until_tomorrow(self) -> int:
        now = self._now()
        tomorrow = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)
        return math.ceil((tomorrow - now).total_seconds())

    def _save_later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(USAGE_INTERVAL, self._start_saving)

    def _start_saving(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._save())

    async def _save(self) -> None:
        """Add what this process has counted, and learn what all have. Try again if it fails."""
        items = {which: count for which, count in self._unsaved.items() if count}
        used, self._used = self._used, set()
        self._saving, self._unsaved = Counter(items), Counter()
        try:
            if items or used:
                loop = asyncio.get_running_loop()
                self.learn(await loop.run_in_executor(self._thread, self._write, items, used))
            self._has_failed = False
        except CommitUnknown:
            pass  # it is stored, most likely, and a client must not be counted twice
        except Exception as error:
            self._warn(error)
            self._unsaved.update(self._saving)
            self._used |= used
        self._saving = Counter()
        self._timer = None
        if self._unsaved or self._used:
            self._save_later()

    def _warn(self, error: Exception) -> None:
        if not self._has_failed and not self._database.outages.is_on:
            detail = error.detail if isinstance(error, BatchlineError) else type(error).__name__
            log.warning("the use of API keys cannot be saved", detail=detail)
        self._has_failed = True

    def _write(self, items: Use, used: set[int]) -> Use:
        return self._database.transaction(lambda c: usage.save(c, items, used))
