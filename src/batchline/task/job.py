"""One batch: claim, read, predict, store.

What a batch holds in memory is bounded by its claim. It dies well at every step: before the store
nothing is written but the claim, which runs out by itself; the store is one transaction, which
checks that the claim still stands.
"""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from batchline.constants import (
    BEFORE_ALL_IDS,
    CLAIM_LEASE,
    CLAIM_MAX_BYTES,
    NO_VERSION,
    RESULTS_MAX_BYTES,
)
from batchline.db import backfills, claims
from batchline.db.claims import Claim
from batchline.db.cruds import pending
from batchline.db.cruds import results as result_rows
from batchline.db.cruds.results import ItemsChanged
from batchline.db.database import Database
from batchline.db.scope import Backfill
from batchline.errors import (
    ClaimLost,
    CommitUnknown,
    ModelUnavailable,
    Unavailable,
    UnknownModel,
)
from batchline.ml.data_loader import (
    Batch,
    Results,
    fail_all,
    load_batch,
    merge,
    predict_rows,
    to_item_results,
)
from batchline.ml.outputs import Failure, Result
from batchline.ml.predictor import Predictor
from batchline.registry.loaded import ModelCache
from batchline.registry.version import Version
from batchline.task.pace import Pace

T = TypeVar("T")

Items = list[tuple[int, str | bytes | None]]


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
    versions: ModelCache
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

    def claim_backfill(self) -> Claim | None:
        """Claim the next items of a backfill; None if there are none.

        Raises:
            SuspectsWaiting: claims have run out, and come first.
        """
        return self._claim(
            lambda connection, owner: claims.claim_backfill(
                connection, owner=owner, max_items=self.pace.items, lease=CLAIM_LEASE
            )
        )

    def claim_suspect(self) -> tuple[Claim | None, Outcome]:
        """Claim items of a job that died, and how many rows were set aside on the way.

        The caller has no other claim in hand, so that nobody else is blamed if it dies too.
        """
        claim, crashed = self._claim(
            lambda connection, owner: claims.claim_suspect(
                connection, owner=owner, lease=CLAIM_LEASE
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
        claim, items, active = self._read(claim)
        results, rows = self._predict_all(items, active)
        try:
            stored = self.database.transaction(lambda c: self._store(c, claim, results))
        except (IntegrityError, ItemsChanged):
            if isinstance(claim.scope, Backfill):
                raise
            stored = self.database.transaction(lambda c: self._store_anew(c, claim, results))
        except CommitUnknown:
            if not self._is_stored(claim, results):
                raise
            stored = results
        return Outcome(len(stored.predictions), len(stored.failures), rows)

    def _read(self, claim: Claim) -> tuple[Claim, dict[str, Items], dict[str, Version]]:
        """The claimed items by model; of a claim that is too large for the memory its first part.

        With the active versions of the same moment: an item is predicted by the version that is
        active when it is read.
        """
        with self.database.read() as connection:
            ids = claim.first_id, claim.last_id
            size, model, is_only = pending.summarize_range(connection, *ids, claim.scope)
            only = model if is_only else None
            if size <= CLAIM_MAX_BYTES:
                return claim, *self._read_items(connection, claim, only)
            last = pending.last_within(connection, *ids, CLAIM_MAX_BYTES, claim.scope)
        shorter = self.database.transaction(
            lambda connection: self._shorten(connection, claim, last)
        )
        with self.database.read() as connection:
            return shorter, *self._read_items(connection, shorter, only)

    def _read_items(
        self, connection: Connection, claim: Claim, model: str | None
    ) -> tuple[dict[str, Items], dict[str, Version]]:
        ids = claim.first_id, claim.last_id
        items = pending.read_unpredicted(connection, *ids, claim.scope, model)
        if isinstance(claim.scope, Backfill):
            version = self.versions.get(connection, claim.scope.model_id)
            return items, {version.name: version}
        return items, self.versions.active(connection)

    def give_back(self, claim: Claim) -> None:
        """Leave the items to whoever comes next; if the database is away, as soon as it is back."""
        self.leftovers.add(claim.owner)
        with suppress(Unavailable):  # then with the next claim, or it runs out by itself
            self._return_leftovers()

    def _return_leftovers(self) -> None:
        for owner in list(self.leftovers):
            self.database.transaction(lambda connection: claims.give_back(connection, owner))  # noqa: B023, called at once
            self.leftovers.discard(owner)

    def _predict_all(
        self, items: dict[str, Items], active: dict[str, Version]
    ) -> tuple[Results, int]:
        """The results of each model's items, and how many rows were predicted.

        Of all items, or of the first so many as `RESULTS_MAX_BYTES` hold.
        """
        found: list[Results] = []
        size = rows = 0
        for name, stored in items.items():  # in the order of their first items
            if size > RESULTS_MAX_BYTES:
                found.append(Results([], [], until=stored[0][0] - 1))
                continue
            results, predicted = self._predict_items(name, stored, active, RESULTS_MAX_BYTES - size)
            found.append(results)
            rows += predicted
            size += sum(len(text) for _, _, text in results.predictions)
        return merge(found), rows

    def _predict_items(
        self, name: str, stored: Items, active: dict[str, Version], max_bytes: int
    ) -> tuple[Results, int]:
        version = active.get(name)
        ids = [item_id for item_id, _ in stored]
        if version is None:
            detail = f"there is no model {name}; there are {', '.join(sorted(active)) or 'none'}"
            return fail_all(ids, Failure(UnknownModel.code, detail), NO_VERSION), 0
        try:
            predictor = self.versions.predictor(version)
        except ModelUnavailable as error:
            return fail_all(ids, Failure(error.code, error.detail), version.id), 0
        batch = load_batch(stored, predictor.signature)
        row_results = self._predict(batch, predictor, max_bytes)
        predicted = len(row_results) - row_results.count(None)
        return to_item_results(batch, row_results, version.id), predicted

    def _predict(self, batch: Batch, predictor: Predictor, max_bytes: int) -> list[Result | None]:
        """Results in calls of a bounded size, between which the job may stop.

        Those that are missing at the end did not fit into `max_bytes`.
        """
        results: list[Result | None] = [None] * sum(batch.row_counts)
        size, rows = 0, predictor.batching.call_rows
        for part in batch.parts:
            for start in range(0, len(part.rows), rows):
                if self.stop.is_set():
                    raise Stopped
                if size > max_bytes:
                    return results
                found = predict_rows(predictor.predict, part.rows[start : start + rows])
                for place, result in zip(part.places[start : start + rows], found, strict=True):
                    results[place] = result
                size += sum(len(result) for result in found if isinstance(result, str))
        return results

    def _store_anew(self, connection: Connection, claim: Claim, results: Results) -> Results:
        """Store where clients have changed items by hand: what they took away is left out, and
        an older answer of what they set back to pending makes room."""
        self._hold(connection, claim)
        still = pending.lock_unpredicted(connection, claim.first_id, claim.last_id)
        result_rows.delete_results(connection, results.model_ids, claim.first_id, claim.last_id)
        return self._store(connection, claim, results.of(still))

    def _store(self, connection: Connection, claim: Claim, results: Results) -> Results:
        self._hold(connection, claim)
        if isinstance(claim.scope, Backfill):
            ids = claim.first_id, claim.last_id
            results = results.of(pending.lock_unpredicted(connection, *ids, claim.scope))
            backfills.store(connection, results.predictions, results.failures)
        else:
            result_rows.store_predictions(connection, results.predictions)
            result_rows.store_failures(connection, results.failures)
        if results.until is not None:
            claim = claims.shorten(connection, claim, results.until)
        claims.end_claim(connection, claim)
        if isinstance(claim.scope, Backfill):
            backfills.end_if_done(connection, claim.scope.id)
        return results

    def _is_stored(self, claim: Claim, results: Results) -> bool:
        """Look up what became of a COMMIT that was not confirmed: it is all or nothing."""
        with self.database.read() as connection:
            still = pending.ids_of_unpredicted(
                connection, claim.first_id, claim.last_id, claim.scope
            )
        return results.item_ids.isdisjoint(still)

    def _shorten(self, connection: Connection, claim: Claim, last_id: int) -> Claim:
        self._hold(connection, claim)
        return claims.shorten(connection, claim, last_id)

    def _hold(self, connection: Connection, claim: Claim) -> None:
        if not claims.hold_claim(connection, claim):
            raise ClaimLost(
                f"the claim on the items {claim.first_id} to {claim.last_id} ran out",
                hint="another job predicts them; the results of this one were not stored",
            )
