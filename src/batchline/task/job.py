"""One batch: claim, read, predict, store.

What a batch holds in memory is bounded by its claim. It dies well at every step: before the store
nothing is written but the claim, which runs out by itself; the store is one transaction, which
checks that the claim still stands.
"""

import threading
from contextlib import suppress
from dataclasses import dataclass, field

from sqlalchemy import Connection

from batchline.constants import CLAIM_LEASE, CLAIM_MAX_BYTES, CLAIM_MAX_ITEMS, MODEL_CALL_ROWS
from batchline.db import cruds
from batchline.db.cruds import Claim
from batchline.db.database import Database
from batchline.errors import ClaimLost, Unavailable
from batchline.ml.data_loader import (
    Failure,
    Results,
    Tensor,
    assemble,
    load_batch,
    predict_rows,
)
from batchline.ml.predictor import Predictor


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one batch did, or several together."""

    succeeded: int = 0
    failed: int = 0
    rows: int = 0

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(
            self.succeeded + other.succeeded, self.failed + other.failed, self.rows + other.rows
        )


class Stopped(Exception):
    """The job was asked to stop in the middle of a batch, and gave the batch back."""


@dataclass(frozen=True)
class Job:
    """What every batch of one job process shares; worker threads call it at the same time."""

    database: Database
    predictor: Predictor
    model_id: int
    owner: str
    stop: threading.Event
    claim_items: int = CLAIM_MAX_ITEMS
    in_hand: set[int] = field(default_factory=set)

    def run_batch(self, after: int = 0) -> tuple[Claim, Outcome] | None:
        """Predict the next free items above the id `after`; None if there are none.

        Raises:
            Stopped: the job shall end; nothing of this batch was stored, and its items are free.
            ClaimLost: the batch took so long that its items went to another job.
            DatabaseUnavailable: nothing of this batch was stored; its claim runs out by itself.
        """
        claim = self.database.transaction(lambda connection: self._claim(connection, after))
        if claim is None:
            return None
        self.in_hand.add(claim.id)
        try:
            return claim, self._work_off(claim)
        except BaseException:
            self._give_back(claim)
            raise
        finally:
            self.in_hand.discard(claim.id)

    def renew_claims(self) -> None:
        """Extend the claims that batches are working on; those that were lost stay lost."""
        claim_ids = list(self.in_hand)
        if claim_ids:
            self.database.transaction(
                lambda connection: cruds.renew_claims(connection, claim_ids, CLAIM_LEASE)
            )

    def _work_off(self, claim: Claim) -> Outcome:
        with self.database.read() as connection:
            stored = cruds.read_claimed(connection, claim)
        batch = load_batch(stored, self.predictor.signature)
        results = assemble(batch, self._predict(batch.tensor))
        self.database.transaction(lambda connection: self._store(connection, claim, results))
        return Outcome(len(results.predictions), len(results.failures), len(batch.tensor))

    def _give_back(self, claim: Claim) -> None:
        with suppress(Unavailable):  # then it runs out by itself
            self.database.transaction(lambda connection: cruds.release_claim(connection, claim))

    def _claim(self, connection: Connection, after: int) -> Claim | None:
        return cruds.claim_pending(
            connection,
            owner=self.owner,
            after=after,
            max_items=self.claim_items,
            max_bytes=CLAIM_MAX_BYTES,
            lease=CLAIM_LEASE,
        )

    def _predict(self, tensor: Tensor) -> list[object | Failure]:
        """Results of all rows, in calls of a bounded size, between which the job may stop."""
        results: list[object | Failure] = []
        for start in range(0, len(tensor), MODEL_CALL_ROWS):
            if self.stop.is_set():
                raise Stopped
            part = tensor[start : start + MODEL_CALL_ROWS]
            results.extend(predict_rows(self.predictor.predict, part))
        return results

    def _store(self, connection: Connection, claim: Claim, results: Results) -> None:
        if not cruds.hold_claim(connection, claim):
            raise ClaimLost(
                f"the claim on the items {claim.first_id} to {claim.last_id} ran out",
                hint="another job predicts them; the results of this one were not stored",
            )
        cruds.store_predictions(connection, self.model_id, results.predictions)
        cruds.store_failures(connection, self.model_id, results.failures)
        cruds.release_claim(connection, claim)
