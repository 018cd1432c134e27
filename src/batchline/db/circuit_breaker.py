"""While the database is away, its users are refused at once, and one thread asks for it.

The pattern is known as a circuit breaker: whoever finds the database away opens it, so that those
who come next need not wait for the same timeout one after the other.
"""

import threading
from collections.abc import Callable

import structlog

from batchline.constants import OUTAGE_PROBE_INTERVAL
from batchline.errors import Unavailable

log = structlog.get_logger(__name__)


class CircuitBreaker:
    """Whether the database is away, as far as is known; `probe` raises as long as it is."""

    def __init__(self, probe: Callable[[], None]) -> None:
        self._probe = probe
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._closed = threading.Event()
        self._over.set()

    @property
    def is_on(self) -> bool:
        return not self._over.is_set()

    def begin(self) -> None:
        """The database did not answer; from now on it is asked again and again."""
        with self._lock:
            if self.is_on or self._closed.is_set():
                return
            self._over.clear()
            try:
                threading.Thread(target=self._wait_for_the_end, name="outage", daemon=True).start()
            except RuntimeError:  # no thread can be had: then nobody would ever end it
                self._over.set()
                raise
        log.warning("the database is away")

    def close(self) -> None:
        """Ask no more."""
        self._closed.set()

    def _wait_for_the_end(self) -> None:
        while not self._closed.wait(OUTAGE_PROBE_INTERVAL):
            try:
                self._probe()
            except Exception as error:  # whatever it is: as long as it is raised, it is away
                if not isinstance(error, Unavailable):
                    log.warning("the database answers strangely", error=repr(error))
                continue
            log.warning("the database is back")
            self._over.set()
            return
