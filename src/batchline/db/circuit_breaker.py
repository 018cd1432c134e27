"""A circuit breaker: while the database is unavailable, calls fail immediately.

The first call that finds the database unavailable opens the breaker, so that the following calls
do not each wait for the same timeout. A thread probes the database and closes the breaker when the
database responds.
"""

import threading
from collections.abc import Callable
from contextlib import suppress

from batchline.constants import OUTAGE_PROBE_INTERVAL


class CircuitBreaker:
    """Is open while the database is unavailable.

    Args:
        probe: raises an error while the database is unavailable.
        on_closed: called before calls succeed again.
    """

    def __init__(
        self, probe: Callable[[], None], on_closed: Callable[[], None] = lambda: None
    ) -> None:
        self._probe = probe
        self._on_closed = on_closed
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

    def stop(self) -> None:
        """Stop probing."""
        self._stopped.set()

    def _probe_until_available(self) -> None:
        while not self._stopped.wait(OUTAGE_PROBE_INTERVAL):
            with suppress(Exception):  # any error means that the database is unavailable
                self._probe()
                self._on_closed()
                self._available.set()
                return
