"""One batch: claim, read, predict, store.

What a batch holds in memory is bounded by its claim. It dies well at every step: before the store
nothing is written but the claim, which runs out by itself; the store is one transaction, which
checks that the claim still stands.
"""

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from batchline.constants import (
    BEFORE_ALL_IDS,
    CLAIM_LEASE,
    CLAIM_MAX_BYTES,
    RESULTS_MAX_BYTES,
)
from batchline.db import claims, cruds
from batchline.db.claims import Claim
from batchline.db.cruds import ItemsChanged
from batchline.db.database import Database
from batchline.errors import ClaimLost, CommitUnknown, Unavailable
from batchline.ml.data_loader import Results, Tensor, assemble, load_batch, predict_rows
from batchline.ml.predictor import Predictor
from batchline.ml.results import Result
from batchline.task.pace import Pace

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one batch did, or several together."""

    succeeded: int = 0
    failed: int = 0
    rows: int = 0

    @property
    def items(self) -> int:
        return self.succeeded + self.failed

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
    pace: Pace = field(default_factory=Pace)
    in_hand: set[Claim] = field(default_factory=set)
    leftovers: set[str] = field(default_factory=set)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def claim_pending(self, after: int = BEFORE_ALL_IDS, *, sparse: bool = False) -> Claim | None:
        """Claim the next free items above the id `after`; None if there are none.

        Raises:
            SuspectsWaiting: claims have run out, and come first.
        """
        return self._claim(
            lambda connection, owner: claims.claim_pending(
                connection,
                owner=owner,
                after=after,
                max_items=self.pace.items,
                sparse=sparse,
                lease=CLAIM_LEASE,
            )
        )

    def claim_suspect(self) -> tuple[Claim | None, Outcome]:
        """Claim items of a job that died, and how many rows were set aside on the way.

        The caller has no other claim in hand, so that nobody else is blamed if it dies too.
        """
        claim, crashed = self._claim(
            lambda connection, owner: claims.claim_suspect(
                connection, owner=owner, model_id=self.model_id, lease=CLAIM_LEASE
            )
        )
        return claim, Outcome(failed=crashed)

    def predict(self, claim: Claim) -> Outcome:
        """Predict the claimed items and store the results; the claim is over afterwards.

        Raises:
            Stopped: the job shall end; nothing was stored, and the items are free.
            ClaimLost: the batch took so long that its items went to another job.
            DatabaseUnavailable: nothing was stored; if need be the claim runs out by itself.
        """
        self.in_hand.add(claim)
        try:
            return self._work_off(claim)
        except BaseException:
            self.give_back(claim)
            raise
        finally:
            self.in_hand.discard(claim)

    def renew_claims(self) -> None:
        """Extend the claims that batches are working on; those that were lost stay lost."""
        claim_ids = [claim.id for claim in list(self.in_hand)]
        if claim_ids:
            self.database.transaction(
                lambda connection: claims.renew_claims(connection, claim_ids, CLAIM_LEASE)
            )

    def abandon(self) -> None:
        """Give back what batches are working on; they find their results refused."""
        self.leftovers.update(claim.owner for claim in list(self.in_hand))
        self._return_leftovers()

    def _claim(self, take: Callable[[Connection, str], T]) -> T:
        """Take a claim under an owner's name of its own.

        By that name it is found and given back if its COMMIT was not confirmed, and so it is not
        known whether it stands.
        """
        self._return_leftovers()
        owner = f"{self.owner}-{next(self._numbers)}"
        try:
            return self.database.transaction(lambda connection: take(connection, owner))
        except CommitUnknown:
            self.leftovers.add(owner)
            raise

    def _work_off(self, claim: Claim) -> Outcome:
        claim, items = self._read(claim)
        batch = load_batch(items, self.predictor.signature)
        row_results = self._predict(batch.tensor)
        results = assemble(batch, row_results)
        try:
            stored = self.database.transaction(lambda c: self._store(c, claim, results))
        except (IntegrityError, ItemsChanged):
            stored = self.database.transaction(lambda c: self._store_anew(c, claim, results))
        except CommitUnknown:
            if not self._is_stored(claim, results):
                raise
            stored = results
        return Outcome(len(stored.predictions), len(stored.failures), len(row_results))

    def _read(self, claim: Claim) -> tuple[Claim, Sequence[tuple[int, str | bytes | None]]]:
        """The claimed items; of a claim that is too large for the memory only its first part."""
        with self.database.read() as connection:
            ids = claim.first_id, claim.last_id
            if cruds.pending_bytes(connection, *ids) <= CLAIM_MAX_BYTES:
                return claim, cruds.read_pending(connection, *ids)
            last = cruds.last_within(connection, *ids, CLAIM_MAX_BYTES)
        shorter = self.database.transaction(
            lambda connection: self._shorten(connection, claim, last)
        )
        with self.database.read() as connection:
            return shorter, cruds.read_pending(connection, shorter.first_id, shorter.last_id)

    def give_back(self, claim: Claim) -> None:
        """Leave the items to whoever comes next; if the database is away, as soon as it is back."""
        self.leftovers.add(claim.owner)
        with suppress(Unavailable):  # then with the next claim, or it runs out by itself
            self._return_leftovers()

    def _return_leftovers(self) -> None:
        for owner in list(self.leftovers):
            self.database.transaction(lambda connection: claims.give_back(connection, owner))  # noqa: B023, called at once
            self.leftovers.discard(owner)

    def _predict(self, tensor: Tensor) -> list[Result]:
        """Results in calls of a bounded size, between which the job may stop.

        Of all rows, or of as many as `RESULTS_MAX_BYTES` hold.
        """
        results: list[Result] = []
        size, rows = 0, self.predictor.call_rows
        for start in range(0, len(tensor), rows):
            if self.stop.is_set():
                raise Stopped
            part = predict_rows(self.predictor.predict, tensor[start : start + rows])
            results.extend(part)
            size += sum(len(result) for result in part if isinstance(result, str))
            if size > RESULTS_MAX_BYTES:
                break
        return results

    def _store_anew(self, connection: Connection, claim: Claim, results: Results) -> Results:
        """Store where clients have changed items by hand: what they took away is left out, and
        an older answer of what they set back to pending makes room."""
        self._hold(connection, claim)
        pending = cruds.lock_pending(connection, claim.first_id, claim.last_id)
        cruds.forget_answers(connection, self.model_id, claim.first_id, claim.last_id)
        return self._store(connection, claim, results.of(pending))

    def _store(self, connection: Connection, claim: Claim, results: Results) -> Results:
        self._hold(connection, claim)
        cruds.store_predictions(connection, self.model_id, results.predictions)
        cruds.store_failures(connection, self.model_id, results.failures)
        if results.until is not None:
            claim = claims.shorten(connection, claim, results.until)
        claims.end_claim(connection, claim)
        return results

    def _is_stored(self, claim: Claim, results: Results) -> bool:
        """Look up what became of a COMMIT that was not confirmed: it is all or nothing."""
        with self.database.read() as connection:
            pending = cruds.pending_ids(connection, claim.first_id, claim.last_id)
        return results.item_ids.isdisjoint(pending)

    def _shorten(self, connection: Connection, claim: Claim, last_id: int) -> Claim:
        self._hold(connection, claim)
        return claims.shorten(connection, claim, last_id)

    def _hold(self, connection: Connection, claim: Claim) -> None:
        if not claims.hold_claim(connection, claim):
            raise ClaimLost(
                f"the claim on the items {claim.first_id} to {claim.last_id} ran out",
                hint="another job predicts them; the results of this one were not stored",
            )
