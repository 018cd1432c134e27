"""The objects that each application needs: for access, for the log and for metrics."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from batchline.api.failure_log import FailureLog
from batchline.api.keys import KeyReader
from batchline.api.quotas import Quotas
from batchline.api.scrapes import Scrapes
from batchline.db.database import Database
from batchline.db.insights import InsightsReader
from batchline.metrics.kinds import Counter, Histogram
from batchline.metrics.numbers import Numbers


class SharedState:
    """Belongs to one event loop. The application creates and closes it.

    Args:
        late_after: seconds that a request may wait for its prediction.
        kinds: the metrics that the application shows.
        others: the numbers of other processes, which it adds to its own.
    """

    def __init__(
        self,
        database: Database,
        late_after: float,
        kinds: Sequence[Counter | Histogram],
        others: Sequence[Numbers] = (),
    ) -> None:
        self.database = database
        self.late_after = late_after
        self.insights = InsightsReader(database)
        self.failures = FailureLog(database.outages)
        self.scrapes = Scrapes(self.insights, late_after, kinds, others)
        self._keys_thread = ThreadPoolExecutor(1, "keys")
        self.quotas = Quotas(database, self._keys_thread)
        self.keys = KeyReader(database, self._keys_thread, self.quotas)

    async def close(self) -> None:
        """Save what is counted, then close the database."""
        await self.quotas.close()
        self.failures.close()
        await asyncio.to_thread(self._keys_thread.shutdown)
        self.scrapes.close()
        self.database.close()
