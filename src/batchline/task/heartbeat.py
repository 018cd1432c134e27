"""The heartbeat of a job process: it reports that it is alive, and how its runs are going."""

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog

from batchline import __version__
from batchline.constants import CLAIM_RENEWAL, HEARTBEAT_INTERVAL, IDLE_REPORT_INTERVAL
from batchline.db.cruds import job_processes
from batchline.db.cruds.job_processes import Heartbeat, Identity
from batchline.db.database import Database
from batchline.db.dialects.errors import rejects_writes
from batchline.errors import BatchlineError, Unavailable

PREDICTING, WAITING = "predicting", "waiting"

log = structlog.get_logger(__name__)


class Heart:
    """Reports the state of one process, in a thread of its own, so that no run waits for it.

    A report that cannot be stored is lost: the next one says the same. The run that needs the
    database tells of an outage, but a run that finds nothing to predict needs only to read.

    Args:
        owner: the name of this process in its claims and runs.
        show_life: is called before each report, and at least every few seconds.
    """

    def __init__(
        self,
        database: Database,
        owner: str,
        clock: Callable[[], float] = time.monotonic,
        show_life: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._identity = Identity(owner, socket.gethostname()[:255], os.getpid(), __version__)
        self._clock = clock
        self._show_life = show_life
        self._lock = threading.Lock()
        self._state = Heartbeat(WAITING)
        self._rows = 0
        self._run_began = clock()
        self._beat_at: float | None = None
        self._has_news = True
        self._is_rejected = False

    def run_begins(self) -> None:
        """Take down that a run begins. It is no news, since most runs find nothing."""
        with self._lock:
            self._rows, self._run_began = 0, self._clock()
            self._state = replace(self._state, activity=PREDICTING)

    def predicted(self, rows: int) -> None:
        """Count the rows of a batch."""
        with self._lock:
            self._has_news = self._has_news or not self._rows
            self._rows += rows

    def run_ended(self, next_in: float, error: Exception | None = None) -> None:
        """Take down that a run ended, when the next one begins, and the error that ended it."""
        now = datetime.now(UTC)
        with self._lock:
            before, self._state = (
                self._state,
                Heartbeat(
                    activity=WAITING,
                    rows_per_second=self._rate(),
                    next_run_at=now + timedelta(seconds=next_in),
                    failed_at=None if error is None else now,
                    error=None if error is None else _code_of(error),
                ),
            )
            is_change = (before.error, before.next_run_at is None) != (self._state.error, False)
            if self._rows or is_change or self._is_older_than(IDLE_REPORT_INTERVAL):
                self._has_news = True
            self._rows = 0

    def report_until(self, returned: threading.Event) -> None:
        """Report news within a second, and to be alive every `CLAIM_RENEWAL` seconds."""
        while True:
            self._show_life()
            if self._has_news or self._is_older_than(CLAIM_RENEWAL):
                self.beat()
            if returned.wait(HEARTBEAT_INTERVAL):
                return

    def beat(self) -> None:
        """Report the state."""
        with self._lock:
            self._beat_at = self._clock()
            self._has_news = False
            self._state = state = replace(self._state, rows_per_second=self._rate())
        try:
            self._database.transaction(lambda c: job_processes.beat(c, self._identity, state))
        except BatchlineError as error:
            self._log_rejected(error)
        else:
            self._log_stored()

    def stop(self) -> None:
        """Report that this process ends."""
        with suppress(BatchlineError):
            self._database.transaction(lambda c: job_processes.end(c, self._identity.owner))

    def _log_rejected(self, error: BatchlineError) -> None:
        """Log that the database stores no reports, such as a full one, while runs may go on."""
        is_outage = isinstance(error, Unavailable) and not rejects_writes(error.__cause__)
        if is_outage or self._is_rejected or self._database.outages.is_on:
            return
        self._is_rejected = True
        told = {"code": error.code, "detail": error.detail, "hint": error.hint}
        log.error("heartbeats not stored", **told)

    def _log_stored(self) -> None:
        if self._is_rejected:
            self._is_rejected = False
            log.warning("heartbeats stored again")

    def _is_older_than(self, seconds: float) -> bool:
        return self._beat_at is None or self._clock() - self._beat_at >= seconds

    def _rate(self) -> float | None:
        """The rows per second of this run, or of the last one that predicted any."""
        if not self._rows:
            return self._state.rows_per_second
        return self._rows / max(self._clock() - self._run_began, 1e-6)


def _code_of(error: Exception) -> str:
    return error.code if isinstance(error, BatchlineError) else type(error).__name__
