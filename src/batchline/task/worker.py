"""The loop of the batch job: when to run, when to stop, and to keep what it claimed."""

import threading
import time
from collections.abc import Callable

import structlog

from batchline.constants import CLAIM_RENEWAL, WAIT_FOR_OTHER_JOBS
from batchline.db import cruds
from batchline.errors import BatchlineError, Unavailable
from batchline.task.job import Job, Outcome
from batchline.task.run import OnBatch, Run
from batchline.task.schedule import seconds_until_next

log = structlog.get_logger(__name__)


class Worker:
    """Runs the job, on a schedule or once, until it is stopped.

    `job.stop` may be set from a signal handler: it wakes every sleeper, batches in flight are
    finished or given back, and the loop returns.
    """

    def __init__(self, job: Job, *, threads: int, on_batch: OnBatch = lambda outcome: None) -> None:
        self._job = job
        self._threads = threads
        self._on_batch = on_batch

    def run_forever(self, wait_time: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Start a run every `wait_time` seconds until stopped; an outage ends a run only."""
        with _Renewal(self._job):
            while not self._job.stop.is_set():
                started = clock()
                try:
                    self._run()
                except Unavailable as error:
                    log.error("run failed", detail=error.detail, hint=error.hint)
                self._job.stop.wait(seconds_until_next(started, clock(), wait_time))

    def run_once(self) -> Outcome:
        """Run until nothing is pending; waits for what other jobs have claimed.

        Raises:
            Unavailable: the database does not answer; what was stored until then stays stored.
        """
        total = Outcome()
        with _Renewal(self._job):
            while not self._job.stop.is_set():
                total += self._run()
                if not self._pending():
                    break
                self._job.stop.wait(WAIT_FOR_OTHER_JOBS)
        return total

    def _run(self) -> Outcome:
        return Run(self._job, self._threads, self._on_batch).execute()

    def _pending(self) -> bool:
        with self._job.database.read() as connection:
            return cruds.first_pending(connection) is not None


class _Renewal:
    """Renews the job's claims from a thread of its own, so that slow batches keep theirs."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="claim-renewal", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def _renew(self) -> None:
        while not self._ended.wait(CLAIM_RENEWAL):
            try:
                self._job.renew_claims()
            except BatchlineError as error:
                log.warning("claims not renewed", detail=error.detail, hint=error.hint)
