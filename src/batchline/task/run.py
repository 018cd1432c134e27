"""One run: worker threads predict batch after batch until nothing free is pending."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from batchline.constants import BEFORE_ALL_IDS
from batchline.db import backfills
from batchline.db.claims import Claim, SuspectsWaiting
from batchline.db.cruds import pending, runs
from batchline.db.scope import PENDING
from batchline.errors import ClaimLost
from batchline.task.job import Job, Outcome, Stopped

SPARSE_SHARE = 0.25
"""A claim with a smaller share of pending items makes the next one look for them by number."""

OnBatch = Callable[[Outcome], None]

log = structlog.get_logger(__name__)


class Run:
    """One pass over what is pending, shared by `threads` worker threads."""

    def __init__(self, job: Job, threads: int, on_batch: OnBatch) -> None:
        self._job = job
        self._threads = threads
        self._on_batch = on_batch
        self._lock = threading.Lock()
        self._after = BEFORE_ALL_IDS
        self._sparse = False
        self._outcome = Outcome()
        self._run_id: int | None = None

    def execute(self) -> Outcome:
        """Predict everything that is pending and free, then backfills, and record it in `runs`.

        An idle run costs a probe of the index and one of `backfills`, and writes nothing; one that
        finds only what other jobs have claimed leaves no record.

        Raises:
            DatabaseUnavailable: what was stored until then stays stored.
        """
        with self._job.database.read() as connection:
            if pending.first(connection) is None and not backfills.has_unfinished(connection):
                return self._outcome
        started = time.perf_counter()
        try:
            self._predict_everything()
        finally:
            self._finish(time.perf_counter() - started)
        return self._outcome

    def _predict_everything(self) -> None:
        suspects = True
        while suspects and not self._job.stop.is_set():
            self._clear_suspects()
            with ThreadPoolExecutor(self._threads, thread_name_prefix="batch") as pool:
                workers = [pool.submit(self._work) for _ in range(self._threads)]
            ends = [worker.result() for worker in workers]  # all of them: each may have an error
            suspects = any(ends)

    def _clear_suspects(self) -> None:
        """Items of jobs that died: one batch at a time, with no other batch in hand."""
        while not self._job.stop.is_set():
            claim, crashed = self._job.hand.claim_suspect()
            if crashed:
                self._count(Outcome(failed=crashed))
            if claim is None:
                return
            log.warning(
                "a job died with these items, or gave them back",
                first=claim.first_id,
                last=claim.last_id,
            )
            self._predict(claim)

    def _work(self) -> bool:
        """Batch after batch until nothing is free; whether it ended because of suspects."""
        while not self._job.stop.is_set():
            try:
                claim = self._next_claim()
            except SuspectsWaiting:
                return True
            if claim is None:
                return False
            self._predict(claim)
        return False

    def _next_claim(self) -> Claim | None:
        """Above what this run has claimed so far, else what it passed over, else of a backfill."""
        after, hand, size = self._after, self._job.hand, self._job.pace.items
        claim = hand.claim_pending(size, after, sparse=self._sparse)
        if claim is None and after != BEFORE_ALL_IDS:
            claim = hand.claim_pending(size, sparse=self._sparse)
        if claim is None:
            return hand.claim_backfill(size)
        self._after = max(self._after, claim.last_id)
        return claim

    def _predict(self, claim: Claim) -> None:
        try:
            self._start()
        except BaseException:
            self._job.hand.release(claim)
            raise
        started = time.perf_counter()
        try:
            outcome = self._job.predict(claim)
            if not claim.suspect:
                self._job.pace.record(outcome.items, time.perf_counter() - started)
            if claim.scope == PENDING:
                self._sparse = outcome.items < (claim.last_id - claim.first_id + 1) * SPARSE_SHARE
            self._count(outcome)
        except Stopped:
            log.info("batch given back", first=claim.first_id, last=claim.last_id)
        except ClaimLost as error:
            log.warning("claim lost", detail=error.detail, hint=error.hint)

    def _count(self, outcome: Outcome) -> None:
        with self._lock:
            self._outcome += outcome
            self._on_batch(outcome)

    def _start(self) -> None:
        with self._lock:
            if self._run_id is None:
                self._run_id = self._job.database.transaction(
                    lambda connection: runs.start(connection, self._job.hand.owner)
                )

    def _finish(self, seconds: float) -> None:
        if self._run_id is None:
            return
        run_id, done = self._run_id, self._outcome
        rate = done.rows / seconds
        self._job.database.transaction(
            lambda connection: runs.finish(
                connection,
                run_id,
                succeeded=done.succeeded,
                failed=done.failed,
                rows_per_second=rate,
            )
        )
        log.info(
            "run ended", succeeded=done.succeeded, failed=done.failed, rows_per_second=round(rate)
        )
