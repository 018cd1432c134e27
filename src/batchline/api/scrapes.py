"""The metrics of this process, with those of the database if it tells them soon."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from batchline import metrics
from batchline.constants import METRICS_DATABASE_WAIT
from batchline.db.insights import Insights, InsightsReader
from batchline.errors import BatchlineError
from batchline.exposition import Exposition
from batchline.metrics.kinds import Counter, Histogram
from batchline.metrics.numbers import Numbers

log = structlog.get_logger(__name__)


class Scrapes:
    """Answers the scrapes of one event loop.

    A read of the database that takes too long goes on. Until it ends, no scrape waits for it again.

    Args:
        late_after: seconds that a request may wait for its prediction.
        kinds: the metrics that the numbers are for.
        others: the numbers of other processes, which are added to those of this process.
    """

    def __init__(
        self,
        insights: InsightsReader,
        late_after: float,
        kinds: Sequence[Counter | Histogram],
        others: Sequence[Numbers] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._insights = insights
        self._late_after = late_after
        self._kinds = kinds
        self._numbers = [metrics.own(), *others]
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "scrapes")
        self._reading: asyncio.Future[Insights] | None = None
        self._began_at = -math.inf

    async def text(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics and their media type, in the format that a client accepts."""
        found = await self._latest()
        exposition = Exposition(self._kinds, self._numbers, found, self._late_after)
        return await asyncio.to_thread(exposition.text, accept)

    def close(self) -> None:
        """Forget the read in progress. Its thread ends with it."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _latest(self) -> Insights | None:
        """Return the state of the service, or None if the database does not tell it soon."""
        if self._reading is None or self._reading.done():
            self._began_at = self._clock()
            loop = asyncio.get_running_loop()
            self._reading = loop.run_in_executor(self._thread, self._insights.latest)
            self._reading.add_done_callback(_note)
        left = METRICS_DATABASE_WAIT - (self._clock() - self._began_at)
        await asyncio.wait([self._reading], timeout=max(left, 0))
        return _result_of(self._reading)


def _result_of(reading: asyncio.Future[Insights]) -> Insights | None:
    return reading.result() if reading.done() and reading.exception() is None else None


def _note(reading: asyncio.Future[Insights]) -> None:
    """Log an error that is no outage, which the log and the counter of errors have already."""
    error = None if reading.cancelled() else reading.exception()
    if error is not None and not isinstance(error, BatchlineError):
        log.error("metrics of the database cannot be read", exc_info=error)
