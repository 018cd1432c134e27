"""The loop of the batch job: when to run, when to stop, and to keep what it claimed."""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import structlog

from batchline.constants import (
    ABANDON_TIMEOUT,
    CLAIM_RENEWAL,
    DRAIN_TIMEOUT,
    OUTAGE_ATTEMPTS,
    OUTAGE_FIRST_PAUSE,
    WAIT_FOR_OTHER_JOBS,
)
from batchline.db.cruds import pending
from batchline.errors import BatchlineError, DatabaseUnavailable, Unavailable
from batchline.task.job import Job, Outcome
from batchline.task.run import OnBatch, Run
from batchline.task.schedule import seconds_after_outage, seconds_until_next

log = structlog.get_logger(__name__)


class Worker:
    """Runs the job, on a schedule or once, until it is stopped.

    `job.stop` may be set from a signal handler: it wakes every sleeper, batches in flight are
    finished or given back, and the loop returns. After `DRAIN_TIMEOUT` seconds, what is still in
    flight is given back all the same, and the process ends.
    """

    def __init__(self, job: Job, *, threads: int, on_batch: OnBatch = lambda outcome: None) -> None:
        self._job = job
        self._threads = threads
        self._on_batch = on_batch

    def run_forever(self, wait_time: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Start a run every `wait_time` seconds until stopped; an outage ends a run only."""
        longest_pause = max(wait_time, OUTAGE_FIRST_PAUSE)
        attempts = 0
        with self._kept_alive():
            while not self._job.stop.is_set():
                started = clock()
                try:
                    self._run(self._on_batch)
                    attempts = 0
                    pause = seconds_until_next(started, clock(), wait_time)
                except Unavailable as error:
                    attempts += 1
                    pause = min(longest_pause, _pause_after(error, attempts))
                self._job.stop.wait(pause)

    def run_once(self) -> Outcome:
        """Run until nothing is pending; waits for what other jobs have claimed, and in an outage.

        Raises:
            DatabaseUnavailable: as `run_until`.
        """
        return self.run_until(lambda: not self._pending())

    def run_until(self, done: Callable[[], bool]) -> Outcome:
        """Run until it is done; between the runs waits for other jobs, and in an outage.

        Raises:
            DatabaseUnavailable: the database has not answered for `OUTAGE_ATTEMPTS` times; what
                was stored until then stays stored.
        """
        outcomes: list[Outcome] = []

        def on_batch(outcome: Outcome) -> None:
            outcomes.append(outcome)
            self._on_batch(outcome)

        attempts = 0
        with self._kept_alive():
            while not self._job.stop.is_set():
                before = len(outcomes)
                try:
                    self._run(on_batch)
                    if done():
                        break
                    attempts = 0
                    pause = WAIT_FOR_OTHER_JOBS
                except DatabaseUnavailable as error:
                    attempts = attempts + 1 if len(outcomes) == before else 1
                    if attempts == OUTAGE_ATTEMPTS:
                        raise
                    pause = _pause_after(error, attempts)
                self._job.stop.wait(pause)
        return sum(outcomes, Outcome())

    def _run(self, on_batch: OnBatch) -> None:
        Run(self._job, self._threads, on_batch).execute()

    def _pending(self) -> bool:
        with self._job.database.read() as connection:
            return pending.first(connection) is not None

    @contextmanager
    def _kept_alive(self) -> Iterator[None]:
        """Beside the loop: claims are renewed, and the end does not wait for ever."""
        ended = threading.Event()
        renewal = threading.Thread(target=_renew_claims, args=(self._job, ended), daemon=True)
        renewal.start()
        threading.Thread(target=_end_in_time, args=(self._job, ended), daemon=True).start()
        try:
            yield
        finally:
            ended.set()
            renewal.join()


def _pause_after(error: Unavailable, attempts: int) -> float:
    pause = seconds_after_outage(attempts, random.random())  # noqa: S311, not a secret
    log.error("run failed", detail=error.detail, hint=error.hint, next_in=round(pause, 1))
    return pause


def _renew_claims(job: Job, ended: threading.Event) -> None:
    """Renew the job's claims again and again, so that slow batches keep theirs."""
    while not ended.wait(CLAIM_RENEWAL):
        try:
            job.hand.renew()
        except BatchlineError as error:
            log.warning("claims not renewed", detail=error.detail, hint=error.hint)
        except Exception as error:  # whatever it is, the next time may go well
            log.error("claims not renewed", exc_info=error)


def _end_in_time(job: Job, ended: threading.Event) -> None:
    """End the process when a batch, or the database, takes too long after the stop."""
    job.stop.wait()
    if ended.wait(DRAIN_TIMEOUT):
        return
    log.warning("ends in the middle of a batch", claims=len(job.hand.active))
    threading.Timer(ABANDON_TIMEOUT, os._exit, (1,)).start()  # the database may hang
    with suppress(Unavailable):
        job.hand.release_all()
    os._exit(1)
