"""Whether the database has lately rejected what this process wanted to store."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from batchline.constants import REJECTION_MEMORY
from batchline.db.dialects.errors import rejects_writes
from batchline.db.outage_log import OutageLog
from batchline.errors import Unavailable


class StoreHealth:
    """Remembers the last transaction that stored something, or was to.

    A server that cannot be reached is not remembered: whoever asks finds out by reading.

    Args:
        outages: logs when the database begins to reject, and when it stores again.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        outages: OutageLog | None = None,
    ) -> None:
        self._clock = clock
        self._outages = outages or OutageLog()
        self._lock = threading.Lock()
        self._rejected: tuple[float, Unavailable] | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Take down whether the transaction in this block stores something."""
        try:
            yield
        except Unavailable as error:
            if rejects_writes(error.__cause__):
                self._outages.begin(error)
                self._note((self._clock(), error))
            raise
        self._outages.end()
        self._note(None)

    def check(self) -> None:
        """Raise the error of the last transaction, if it is recent.

        It is forgotten after a while, because a service that is not ready may get no requests with
        which it could find out.
        """
        with self._lock:
            rejected = self._rejected
        if rejected is not None and self._clock() - rejected[0] < REJECTION_MEMORY:
            raise rejected[1]

    def _note(self, rejected: tuple[float, Unavailable] | None) -> None:
        with self._lock:
            self._rejected = rejected
