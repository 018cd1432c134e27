"""One run: worker threads predict batches until no free item is pending."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from batchline.constants import SUSPECTS_INTERVAL, WAIT_FOR_OTHER_JOBS
from batchline.db import backfills
from batchline.db.claims import WORKER_CRASHED, Claim
from batchline.db.cruds import pending, runs
from batchline.errors import ClaimLost, Unavailable
from batchline.machine import processor
from batchline.ml.session import RUNTIME
from batchline.task import counts
from batchline.task.failures import Failed, log_each
from batchline.task.job import Job, Outcome, Stopped
from batchline.task.lanes import Lanes
from batchline.task.schedule import seconds_after_outage

OnBatch = Callable[[Outcome], None]
OnSuspects = Callable[[], None]

log = structlog.get_logger(__name__)


class Run:
    """One pass over the pending items, shared by `threads` worker threads.

    Args:
        on_suspects: called if there are suspect items, to predict them in another process. Without
            it, this run predicts them after the others.
        look_again: seconds after which a thread without items looks for new ones, while another
            thread still predicts.
    """

    def __init__(
        self,
        job: Job,
        threads: int,
        on_batch: OnBatch,
        *,
        on_suspects: OnSuspects | None = None,
        look_again: float = WAIT_FOR_OTHER_JOBS,
    ) -> None:
        self._job = job
        self._threads = threads
        self._on_batch = on_batch
        self._on_suspects = on_suspects
        self._look_again = look_again
        self._lock = threading.Lock()
        self._next_report = 0.0
        self._resting = threading.Condition()
        self._busy = 0
        self._error: Exception | None = None
        self._lanes = Lanes()
        self._outcome = Outcome()
        self._run_id: int | None = None
        self._has_told_suspects = False

    def execute(self) -> Outcome:
        """Predict all free pending items, then backfills, and record the run in `runs`.

        An idle run executes two short queries and writes nothing. A run that finds only items
        claimed by other jobs is not recorded either.

        Raises:
            DatabaseUnavailable: the database is unavailable. Batches already stored stay stored.
        """
        with self._job.database.read() as connection:
            if not pending.exists(connection) and not backfills.has_unfinished(connection):
                return self._outcome
        return self._recorded(self._predict_everything)

    def execute_suspects(self) -> Outcome:
        """Predict the suspect items, in a process that does nothing else.

        Raises:
            DatabaseUnavailable: as `execute`.
        """
        return self._recorded(self._predict_suspects)

    def _recorded(self, predict: Callable[[], None]) -> Outcome:
        started = time.perf_counter()
        try:
            predict()
        finally:
            self._finish(time.perf_counter() - started)
        return self._outcome

    def _predict_everything(self) -> None:
        self._predict_free()
        while self._on_suspects is None and not self._job.stop.is_set():
            if not self._job.hand.has_suspects():
                return
            self._predict_suspects()
            self._predict_free()

    def _predict_free(self) -> None:
        self._busy, self._error = self._threads, None
        with ThreadPoolExecutor(self._threads, thread_name_prefix="batch") as pool:
            workers = [pool.submit(self._work) for _ in range(self._threads)]
        for worker in workers:
            worker.result()  # raises a thread's error
        if self._error is not None:
            raise self._error

    def _predict_suspects(self) -> None:
        """Predict suspect items one batch at a time, while this job holds no other claim."""
        while not self._job.stop.is_set():
            if self._job.load_models_of_suspects():
                self._start()  # before the claim, which a process should hold for a short time
            suspects = self._job.hand.claim_suspect()
            if suspects.crashed:
                counts.ended_a_process(self._job.database, suspects.crashed, WORKER_CRASHED)
                found = {WORKER_CRASHED: Failed.of(suspects.crashed)}
                self._count(Outcome(failed=len(suspects.crashed), failures=found))
            claim = suspects.claim
            if claim is None:
                return
            if not self._has_told_suspects:
                log.warning("suspect items claimed", first_id=claim.first_id, last_id=claim.last_id)
                self._has_told_suspects = True
            self._predict(claim)

    def _work(self) -> None:
        """Predict batches until nothing is free and no other thread predicts.

        After an error, the thread goes on as long as another one predicts. The run may last for
        hours, and would have fewer and fewer threads.
        """
        errors = 0
        try:
            while not self._job.stop.is_set():
                try:
                    if not self._predict_next():
                        return
                    errors = 0
                except Stopped:
                    raise
                except Exception as error:  # whatever it is, the next batch may succeed
                    errors += 1
                    if not self._waits_for_others(seconds_after_outage(errors, 1.0)):
                        raise
                    self._note(error)
        finally:
            with self._resting:
                self._busy -= 1
                self._resting.notify_all()

    def _predict_next(self) -> bool:
        """Predict a batch, or wait for one. Return False if there will be none."""
        self._report_suspects()
        claim = self._next_claim()
        if claim is None:
            return self._waits_for_others(self._look_again)
        self._predict(claim)
        return True

    def _waits_for_others(self, seconds: float) -> bool:
        """Wait while other threads predict. Return False when none does any more."""
        with self._resting:
            self._busy -= 1
            self._resting.notify_all()
            is_over = self._resting.wait_for(lambda: self._busy == 0, seconds)
            self._busy += 1
        return not is_over

    def _note(self, error: Exception) -> None:
        """Log an error after which the run goes on. One that is no outage is the run's, too."""
        if isinstance(error, Unavailable):
            self._job.database.outages.begin(error)
        else:
            log.error("batch failed", error=type(error).__qualname__, exc_info=error)
            self._error = self._error or error

    def _report_suspects(self) -> None:
        now = time.monotonic()
        if self._on_suspects is None or now < self._next_report:
            return
        self._next_report = now + SUSPECTS_INTERVAL
        if self._job.hand.has_suspects():
            self._on_suspects()

    def _next_claim(self) -> Claim | None:
        """Claim pending items, the lowest lane's first, else those of a backfill."""
        hand, pace = self._job.hand, self._job.pace
        claim = hand.claim_pending(pace.items, self._lanes.progress())
        if claim is None:
            return hand.claim_backfill(pace.items(None))
        self._lanes.claimed(claim)
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
                seconds = time.perf_counter() - started
                self._job.pace.record(claim.scope.lane, outcome.items, seconds)
            self._lanes.predicted(claim, outcome.items)
            self._count(outcome)
        except Stopped:
            log.info("batch released", first_id=claim.first_id, last_id=claim.last_id)
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
                    lambda connection: runs.start(
                        connection, self._job.hand.owner, RUNTIME, processor()
                    )
                )

    def _finish(self, seconds: float) -> None:
        log_each(self._job.database, self._outcome.failures)
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
            "run finished",
            items_succeeded=done.succeeded,
            items_failed=done.failed,
            rows_per_second=round(rate),
        )
