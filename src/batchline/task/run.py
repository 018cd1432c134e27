"""One run: worker threads predict batch after batch until nothing free is pending."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog
from sqlalchemy import Connection

from batchline.db import cruds
from batchline.errors import ClaimLost
from batchline.task.job import Job, Outcome, Stopped

OnBatch = Callable[[Outcome], None]

log = structlog.get_logger(__name__)


class Run:
    """One pass over what is pending, shared by `threads` worker threads."""

    def __init__(self, job: Job, threads: int, on_batch: OnBatch) -> None:
        self._job = job
        self._threads = threads
        self._on_batch = on_batch
        self._lock = threading.Lock()
        self._after = 0
        self._outcome = Outcome()

    def execute(self) -> Outcome:
        """Predict everything that is pending and free, and record it in `runs`.

        An idle run costs one probe of the index and writes nothing.

        Raises:
            DatabaseUnavailable: what was stored until then stays stored.
        """
        database, owner = self._job.database, self._job.owner
        with database.read() as connection:
            if cruds.first_pending(connection) is None:
                return self._outcome
        run_id = database.transaction(lambda connection: cruds.start_run(connection, owner))
        started = time.perf_counter()
        try:
            self._predict_everything()
        finally:
            seconds = time.perf_counter() - started
            database.transaction(lambda connection: self._finish(connection, run_id, seconds))
        log.info(
            "run ended",
            succeeded=self._outcome.succeeded,
            failed=self._outcome.failed,
            rows_per_second=round(self._outcome.rows / seconds),
        )
        return self._outcome

    def _predict_everything(self) -> None:
        with ThreadPoolExecutor(self._threads, thread_name_prefix="batch") as pool:
            for worker in [pool.submit(self._work) for _ in range(self._threads)]:
                worker.result()

    def _work(self) -> None:
        while not self._job.stop.is_set():
            try:
                done = self._next_batch()
            except Stopped:
                return
            except ClaimLost as error:
                log.warning("claim lost", detail=error.detail, hint=error.hint)
                continue
            if done is None:
                return
            self._count(done)

    def _next_batch(self) -> Outcome | None:
        """The next batch above what this run has claimed so far, else of what it passed over."""
        after = self._after
        found = self._job.run_batch(after) or (self._job.run_batch(0) if after else None)
        if found is None:
            return None
        claim, outcome = found
        self._after = max(self._after, claim.last_id)
        return outcome

    def _count(self, outcome: Outcome) -> None:
        with self._lock:
            self._outcome += outcome
            self._on_batch(outcome)

    def _finish(self, connection: Connection, run_id: int, seconds: float) -> None:
        cruds.finish_run(
            connection,
            run_id,
            succeeded=self._outcome.succeeded,
            failed=self._outcome.failed,
            rows_per_second=self._outcome.rows / seconds,
        )
