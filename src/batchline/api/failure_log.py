"""The log of requests that failed because of the service, without a line for each of them.

The first error of a kind is logged at once. Those of the next minute share a line. Errors of an
outage are counted in the line that ends the outage.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from batchline.constants import FAILURE_LOG_INTERVAL, LOGGED_IDS
from batchline.db.outage_log import OutageLog
from batchline.errors import BatchlineError, DatabaseUnavailable

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Repeated:
    """The requests that failed in the same way since a line was logged."""

    count: int = 0
    request_ids: list[str] = field(default_factory=list)


class FailureLog:
    """Belongs to one event loop."""

    def __init__(self, outages: OutageLog, interval: float = FAILURE_LOG_INTERVAL) -> None:
        self._outages = outages
        self._interval = interval
        self._repeated: dict[str, _Repeated] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def failed(self, error: BatchlineError, path: str, request_id: str) -> None:
        """Log an error that Batchline can name."""
        if type(error) is DatabaseUnavailable and self._outages.is_on:
            self._outages.count(request_id)
            return
        told = {"path": path, "detail": error.detail, "hint": error.hint}
        self._note(
            error.code, request_id, lambda: log.warning(error.code, request_id=request_id, **told)
        )

    def unforeseen(self, error: Exception, path: str, request_id: str) -> None:
        """Log an error that is a bug, with its traceback."""
        self._note(
            f"{type(error).__module__}.{type(error).__qualname__}",
            request_id,
            lambda: log.error("internal_error", path=path, request_id=request_id, exc_info=error),
        )

    def close(self) -> None:
        """Log what was not logged yet."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for kind in list(self._repeated):
            self._log_repeated(kind)
        self._repeated.clear()

    def _note(self, kind: str, request_id: str, log_first: Callable[[], None]) -> None:
        repeated = self._repeated.get(kind)
        if repeated is None:
            log_first()
            self._wait_for_more(kind)
            return
        repeated.count += 1
        if len(repeated.request_ids) < LOGGED_IDS:
            repeated.request_ids.append(request_id)

    def _wait_for_more(self, kind: str) -> None:
        self._repeated[kind] = _Repeated()
        loop = asyncio.get_running_loop()
        self._timers[kind] = loop.call_later(self._interval, self._log_and_wait, kind)

    def _log_and_wait(self, kind: str) -> None:
        del self._timers[kind]
        if self._log_repeated(kind):
            self._wait_for_more(kind)
        else:
            del self._repeated[kind]

    def _log_repeated(self, kind: str) -> bool:
        """Log the requests that failed since the last line. Return whether there were any."""
        repeated = self._repeated[kind]
        if repeated.count:
            log.warning(
                "more requests failed in the same way",
                kind=kind,
                requests=repeated.count,
                request_ids=repeated.request_ids,
            )
        return repeated.count > 0
