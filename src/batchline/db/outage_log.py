"""One line when the database becomes unavailable, and one when it is available again.

Each process logs an outage for itself. Failures in between are counted for the last line.
"""

import threading
import time
from collections.abc import Callable

import structlog

from batchline.constants import LOGGED_IDS
from batchline.errors import Unavailable

log = structlog.get_logger(__name__)


class OutageLog:
    """Knows whether there is an outage. Threads call it concurrently."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._began: float | None = None
        self._failed = 0
        self._request_ids: list[str] = []

    @property
    def is_on(self) -> bool:
        return self._began is not None

    def begin(self, error: Unavailable) -> None:
        """Log the error, unless the outage is known."""
        with self._lock:
            if self._began is not None:
                return
            self._began = self._clock()
        log.error("database unavailable", code=error.code, detail=error.detail, hint=error.hint)

    def count(self, request_id: str | None = None) -> None:
        """Count a request or a run that failed because of the outage."""
        with self._lock:
            self._failed += 1
            if request_id is not None and len(self._request_ids) < LOGGED_IDS:
                self._request_ids.append(request_id)

    def end(self) -> None:
        """Log that the database is available again, if it was not."""
        if not self.is_on:  # without the lock, since each success comes here
            return
        with self._lock:
            if self._began is None:
                return
            seconds = round(self._clock() - self._began, 1)
            failed, request_ids = self._failed, self._request_ids
            self._began, self._failed, self._request_ids = None, 0, []
        ids = {"request_ids": request_ids} if request_ids else {}
        log.warning("database available again", seconds=seconds, failed=failed, **ids)
