"""A circuit breaker: while the database is unavailable, calls fail immediately.

The first call that finds the database unavailable opens the breaker, so that the following calls
do not each wait for the same timeout. A thread probes the database and closes the breaker when the
database responds.
"""

import threading
from collections.abc import Callable

import structlog

from batchline.constants import OUTAGE_PROBE_INTERVAL
from batchline.errors import Unavailable

log = structlog.get_logger(__name__)


class CircuitBreaker:
    """Is open while the database is unavailable.

    Args:
        probe: raises an error while the database is unavailable.
    """

    def __init__(self, probe: Callable[[], None]) -> None:
        self._probe = probe
        self._lock = threading.Lock()
        self._available = threading.Event()
        self._stopped = threading.Event()
        self._available.set()

    @property
    def is_open(self) -> bool:
        """Return whether calls must fail immediately."""
        return not self._available.is_set()

    def open(self) -> None:
        """Let calls fail, and probe the database until it responds."""
        with self._lock:
            if self.is_open or self._stopped.is_set():
                return
            self._available.clear()
            try:
                threading.Thread(
                    target=self._probe_until_available, name="probe", daemon=True
                ).start()
            except RuntimeError:  # without the thread, the breaker would stay open forever
                self._available.set()
                raise
        log.warning("database unavailable")

    def stop(self) -> None:
        """Stop probing."""
        self._stopped.set()

    def _probe_until_available(self) -> None:
        while not self._stopped.wait(OUTAGE_PROBE_INTERVAL):
            try:
                self._probe()
            except Exception as error:  # any error means that the database is unavailable
                if not isinstance(error, Unavailable):
                    log.warning("database probe failed", error=repr(error))
                continue
            log.warning("database available again")
            self._available.set()
            return
