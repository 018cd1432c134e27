"""The API keys, read again when they are too old."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import structlog
from starlette.types import Scope

from batchline.access_errors import Unauthorized
from batchline.api.quotas import Quotas
from batchline.constants import (
    KEYS_LIFETIME,
    KEYS_LIFETIME_IN_OUTAGES,
    KEYS_READ_INTERVAL,
    UNKNOWN_KEY_INTERVAL,
)
from batchline.db.cruds import keys, usage
from batchline.db.cruds.keys import ApiKey
from batchline.db.cruds.usage import Use
from batchline.db.database import Database
from batchline.errors import BatchlineError, DatabaseUnavailable

log = structlog.get_logger(__name__)

OF_SCOPE = "batchline.api_key"
WHILE_OPEN = "batchline.while_open"
"""The check of a request that needs no key only because none exists."""


def key_of(scope: Scope) -> ApiKey | None:
    """Return the API key of a request. It has none if none is required."""
    found: ApiKey | None = scope.get(OF_SCOPE)
    return found


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys at one moment. `exist` counts revoked ones too."""

    by_sha256: Mapping[str, ApiKey]
    exist: bool
    read_at: float


class KeyReader:
    """Reads the keys for the coroutines of one event loop.

    No request waits for a read, unless the keys are older than `KEYS_LIFETIME`. While the database
    is unavailable, the last known keys stay valid for `KEYS_LIFETIME_IN_OUTAGES` seconds.

    Args:
        thread: reads the keys. It is the one that saves the counts of `quotas`.
        quotas: learns what the database has counted.
        clock: returns the time in seconds.
    """

    def __init__(
        self,
        database: Database,
        thread: Executor,
        quotas: Quotas,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._thread = thread
        self._quotas = quotas
        self._clock = clock
        self._keys: _Keys | None = None
        self._tried_at = -math.inf  # when the last read began that has ended
        self._failed = False
        self._reading: asyncio.Task[None] | None = None

    async def exist(self) -> bool:
        """Return whether a key was ever created. Once it is true, it stays true.

        Raises:
            DatabaseUnavailable: the keys have never been read.
        """
        return (await self._latest()).exist

    def known_to_exist(self) -> bool | None:
        """Return what `exist` would return without reading the keys. None: it would read them."""
        if self._keys is None or self._is_due():
            return None
        return self._keys.exist

    async def check_none_exists(self) -> None:
        """Check that a request without a key may go on, if it takes long.

        Raises:
            Unauthorized: the first key was created since the request began.
        """
        if await self.exist():
            raise Unauthorized("an API key is required by now", hint="use an API key")

    def known(self, sha256: str) -> ApiKey | None:
        """Return the key with this hash if `find` would return it without reading the keys."""
        if self._keys is None or self._is_due():
            return None
        return None if self._failed else self._keys.by_sha256.get(sha256)

    def _is_due(self) -> bool:
        return self._clock() - self._tried_at >= KEYS_READ_INTERVAL

    async def find(self, sha256: str) -> ApiKey | None:
        """Return the key with this hash, unless it has been revoked.

        Raises:
            DatabaseUnavailable: the database does not respond, and the key is unknown or was read
                too long ago.
        """
        latest = await self._latest()
        key = latest.by_sha256.get(sha256)
        if key is None:  # it may be new
            latest = await self._latest(UNKNOWN_KEY_INTERVAL)
            key = latest.by_sha256.get(sha256)
        age = self._clock() - latest.read_at
        if self._failed and (key is None or age > KEYS_LIFETIME_IN_OUTAGES):
            raise _unavailable()
        return key

    async def _latest(self, lifetime: float = KEYS_LIFETIME) -> _Keys:
        """Return the keys. Wait only if the last try to read them began `lifetime` seconds ago."""
        age = self._clock() - self._tried_at
        if age >= min(lifetime, KEYS_READ_INTERVAL) and self._reading is None:
            self._reading = asyncio.create_task(self._read())
        if age >= lifetime and self._reading is not None:
            await asyncio.shield(self._reading)
        if self._keys is None:
            raise _unavailable()
        return self._keys

    async def _read(self) -> None:
        began = self._clock()
        try:
            loop = asyncio.get_running_loop()
            found, exist, used = await loop.run_in_executor(self._thread, self._all)
        except Exception as error:
            self._fail(error)
        else:
            self._failed = False
            self._quotas.learn(used)
            exist = exist or (self._keys is not None and self._keys.exist)
            self._keys = _Keys({each.sha256: each for each in found}, exist, began)
        finally:
            self._tried_at = began
            self._reading = None

    def _all(self) -> tuple[Sequence[ApiKey], bool, Use]:
        with self._database.read() as connection:
            found = keys.read_valid(connection)
            is_limited = any(key.items_per_day is not None for key in found)
            used = usage.of_day(connection, self._quotas.today()) if is_limited else {}
            return found, keys.exist(connection), used

    def _fail(self, error: Exception) -> None:
        if not self._failed and not self._database.outages.is_on:
            detail = error.detail if isinstance(error, BatchlineError) else type(error).__name__
            log.warning("API keys cannot be read", detail=detail)
        self._failed = True


def _unavailable() -> DatabaseUnavailable:
    return DatabaseUnavailable("the API keys cannot be read", hint="run `batchline check`")
