"""The loop of the batch job: start runs, renew claims, stop in time."""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import structlog

from batchline.constants import (
    CLAIM_RENEWAL,
    DRAIN_TIMEOUT,
    FAILOVER_PAUSE,
    OUTAGE_ATTEMPTS,
    OUTAGE_FIRST_PAUSE,
    OUTAGE_LONGEST_PAUSE,
    RELEASE_TIMEOUT,
    WAIT_FOR_OTHER_JOBS,
)
from batchline.db import claims
from batchline.db.cruds import pending
from batchline.errors import BatchlineError, Unavailable
from batchline.task.heartbeat import Heart
from batchline.task.job import Job, Outcome
from batchline.task.run import OnBatch, OnSuspects, Run
from batchline.task.run_log import RunLog
from batchline.task.schedule import seconds_after_outage, seconds_until_next
from batchline.task.supervisor import STOPPED

log = structlog.get_logger(__name__)


class Worker:
    """Runs the job, on a schedule or until it is done.

    A signal handler may set `job.stop`. Then every waiting thread wakes up, batches in progress are
    finished or released, and the loop returns. After `DRAIN_TIMEOUT` seconds, the job releases its
    remaining claims and the process exits.

    Args:
        on_suspects: as for `Run`.
        show_life: as for `Heart`.
    """

    def __init__(
        self,
        job: Job,
        *,
        threads: int,
        on_batch: OnBatch = lambda outcome: None,
        on_suspects: OnSuspects | None = None,
        show_life: Callable[[], None] = lambda: None,
    ) -> None:
        self._job = job
        self._threads = threads
        self._on_batch = on_batch
        self._on_suspects = on_suspects
        self._heart = Heart(job.database, job.hand.owner, show_life=show_life)
        self._run_log = RunLog(job.database.outages)
        self._has_work_left = False

    def run_forever(self, wait_time: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Start a run every `wait_time` seconds until the job is stopped.

        An error ends its run only. The next run starts after a pause.
        """
        attempts = 0
        with self._kept_alive():
            while not self._job.stop.is_set():
                started = clock()
                try:
                    self._run(self._on_batch, wait_time)
                    attempts = 0
                    pause = seconds_until_next(started, clock(), wait_time)
                    self._heart.run_ended(pause)
                    self._run_log.succeeded()
                except Exception as error:  # whatever it is, a later run may succeed
                    attempts += 1
                    longest = max(wait_time, OUTAGE_FIRST_PAUSE)
                    if isinstance(error, Unavailable):
                        longest = min(longest, FAILOVER_PAUSE)
                    pause = _pause_after(attempts, longest)
                    self._run_log.failed(error, pause)
                    self._heart.run_ended(pause, error)
                self._job.stop.wait(pause)

    def run_once(self) -> Outcome:
        """Run until no item is pending, including the items that other jobs have claimed.

        Raises:
            Exception: as `run_until`.
        """
        return self.run_until(lambda: not self._unfinished())

    def run_until(self, done: Callable[[], bool]) -> Outcome:
        """Start runs until `done` returns true, with pauses for other jobs or after an error.

        Raises:
            Exception: the error of the last of `OUTAGE_ATTEMPTS` runs in a row that failed without
                a batch. Batches already stored stay stored.
        """
        outcomes: list[Outcome] = []

        def on_batch(outcome: Outcome) -> None:
            outcomes.append(outcome)
            self._on_batch(outcome)

        attempts = 0
        self._has_work_left = True
        with self._kept_alive():
            while not self._job.stop.is_set():
                before = len(outcomes)
                try:
                    self._run(on_batch, WAIT_FOR_OTHER_JOBS)
                    self._run_log.succeeded()
                    if done():
                        self._has_work_left = False
                        break
                    attempts = 0
                    pause = WAIT_FOR_OTHER_JOBS
                    self._heart.run_ended(pause)
                except Exception as error:  # whatever it is, a later run may succeed
                    attempts = attempts + 1 if len(outcomes) == before else 1
                    if attempts == OUTAGE_ATTEMPTS:
                        raise
                    pause = _pause_after(attempts)
                    self._run_log.failed(error, pause)
                    self._heart.run_ended(pause, error)
                self._job.stop.wait(pause)
        return sum(outcomes, Outcome())

    def run_suspects(self) -> Outcome:
        """Predict the suspect items until there are none, and nothing else.

        Return in an outage, too: the worker process logs it, and calls for suspects again after it.
        """
        with self._kept_alive():
            self._heart.run_begins()
            try:
                return Run(self._job, 1, self._counted(self._on_batch)).execute_suspects()
            except Unavailable:
                return Outcome()

    def _run(self, on_batch: OnBatch, look_again: float) -> None:
        self._heart.run_begins()
        Run(
            self._job,
            self._threads,
            self._counted(on_batch),
            on_suspects=self._on_suspects,
            look_again=look_again,
        ).execute()

    def _counted(self, on_batch: OnBatch) -> OnBatch:
        def count(outcome: Outcome) -> None:
            self._heart.predicted(outcome.rows)
            self._job.database.outages.end()
            on_batch(outcome)

        return count

    def _unfinished(self) -> bool:
        """Whether items are pending, or suspect. Suspects of a backfill are not pending."""
        with self._job.database.read() as connection:
            return pending.exists(connection) or claims.has_suspects(connection, claimed=True)

    @contextmanager
    def _kept_alive(self) -> Iterator[None]:
        """Renew claims and report to be alive during the loop.

        Exit if that does not end soon after a stop.
        """
        returned, ended = threading.Event(), threading.Event()
        threads = [
            threading.Thread(target=_renew_claims, args=(self._job, returned), daemon=True),
            threading.Thread(target=self._heart.report_until, args=(returned,), daemon=True),
        ]
        for thread in threads:
            thread.start()
        guard = threading.Thread(target=self._exit_in_time, args=(returned, ended), daemon=True)
        guard.start()
        try:
            yield
        finally:
            returned.set()
            for thread in threads:
                thread.join()
            self._heart.stop()
            ended.set()

    def _exit_in_time(self, returned: threading.Event, ended: threading.Event) -> None:
        """Release the claims and exit if a batch or the database takes too long after the stop."""
        job = self._job
        job.stop.wait()
        if ended.wait(DRAIN_TIMEOUT):
            return
        if returned.is_set():  # only the database does not respond
            os._exit(STOPPED if self._has_work_left else 0)
        count = len(job.hand.active)
        log.warning("batches not finished in time", claims=count, seconds=DRAIN_TIMEOUT)
        threading.Timer(RELEASE_TIMEOUT, os._exit, (STOPPED,)).start()  # it may not respond
        with suppress(Unavailable):
            job.hand.release_all()
        os._exit(STOPPED)


def _pause_after(attempts: int, longest: float = OUTAGE_LONGEST_PAUSE) -> float:
    """Return how many seconds to wait before the next run, after a run that failed."""
    return min(longest, seconds_after_outage(attempts, random.random()))  # noqa: S311, no secret


def _renew_claims(job: Job, returned: threading.Event) -> None:
    """Renew the job's claims every `CLAIM_RENEWAL` seconds, so that slow batches keep them."""
    while not returned.wait(CLAIM_RENEWAL):
        try:
            job.hand.renew()
        except Unavailable as error:
            job.database.outages.begin(error)
        except BatchlineError as error:
            log.warning("claims not renewed", detail=error.detail, hint=error.hint)
        except Exception as error:  # any other error: the next renewal may succeed
            log.error("claims not renewed", exc_info=error)
