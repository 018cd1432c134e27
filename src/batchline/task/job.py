"""One batch: claim, read, predict, store.

The size of the claim bounds the memory of a batch. Before it stores results, a batch writes only
its claim, which expires if the process dies. One transaction checks the claim and stores the
results.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from batchline.constants import DEFAULT_MODEL, NO_VERSION, RESULTS_MAX_BYTES
from batchline.db import work
from batchline.db.claims import Claim
from batchline.db.cruds.pending import ModelItems
from batchline.db.cruds.results import VersionResults
from batchline.db.database import Database
from batchline.db.scope import Backfill
from batchline.db.work import Predicted
from batchline.errors import CommitUnknown, Failure, ModelUnavailable, UnknownModel
from batchline.ml.data_loader import ItemResults, load_batch, to_item_results
from batchline.registry.loaded import ModelCache
from batchline.registry.version import Version
from batchline.task.hand import Hand
from batchline.task.pace import Pace


@dataclass(frozen=True, slots=True)
class Outcome:
    """The number of items and rows that one or more batches predicted."""

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
    """The job was asked to stop during a batch, and released its claim."""


@dataclass(frozen=True, slots=True)
class _ModelBatch:
    """The items of one model in a batch, their results, and the number of predicted rows."""

    items: ModelItems
    model_id: int
    results: ItemResults
    rows: int = 0


@dataclass(slots=True)
class Guess:
    """Which model the items of the next claim have: the only one of the last claim, if so."""

    model: str | None = DEFAULT_MODEL

    def learn(self, items: Sequence[ModelItems]) -> None:
        if items:
            self.model = items[0].model if len(items) == 1 else None


@dataclass(frozen=True)
class Job:
    """The batch job of one process. Its worker threads call `predict` concurrently."""

    database: Database
    models: ModelCache
    hand: Hand
    stop: threading.Event
    pace: Pace = field(default_factory=Pace)
    guess: Guess = field(default_factory=Guess)

    def predict(self, claim: Claim) -> Outcome:
        """Predict the claimed items and store the results. This completes the claim.

        Raises:
            Stopped: the job was asked to stop. Nothing was stored, and the claim is released.
            ClaimLost: the claim expired, and another job claimed its items. Nothing was stored.
            DatabaseUnavailable: nothing was stored, and the claim is released or expires.
        """
        with self.hand.holding(claim):
            claimed = work.read(self.database, claim, self.guess.model)
            self.guess.learn(claimed.items)
            batches = self._predict_all(claimed.items, self._versions_for(claim))
            stored = self._store(claimed.claim, batches)
        succeeded = sum(len(each.predictions) for each in stored)
        failed = sum(len(each.failures) for each in stored)
        return Outcome(succeeded, failed, sum(each.rows for each in batches))

    def _versions_for(self, claim: Claim) -> Mapping[str, Version]:
        """Return the version that predicts each model's items in this claim, by model name."""
        if isinstance(claim.scope, Backfill):
            version = self.models.get(claim.scope.model_id)
            return {version.name: version}
        return self.models.active()

    def _store(self, claim: Claim, batches: Sequence[_ModelBatch]) -> list[VersionResults]:
        until = min((e.results.until for e in batches if e.results.until is not None), default=None)
        predicted = [_up_to(until, each) for each in batches]
        try:
            return work.store(self.database, claim, predicted, until)
        except CommitUnknown:
            if not work.is_stored(self.database, claim, predicted):
                raise
            return [each.results for each in predicted]

    def _predict_all(
        self, items: Sequence[ModelItems], versions: Mapping[str, Version]
    ) -> list[_ModelBatch]:
        """Predict the items of each model, until the results exceed `RESULTS_MAX_BYTES`."""
        batches: list[_ModelBatch] = []
        size = 0
        for each in items:  # in the order of their first items
            if size > RESULTS_MAX_BYTES:
                nothing = ItemResults({}, {}, until=min(each.texts) - 1)
                batches.append(_ModelBatch(each, NO_VERSION, nothing))
                continue
            batch = self._predict_model(each, versions, RESULTS_MAX_BYTES - size)
            size += sum(map(len, batch.results.predictions.values()))
            batches.append(batch)
        return batches

    def _predict_model(
        self, items: ModelItems, versions: Mapping[str, Version], max_bytes: int
    ) -> _ModelBatch:
        version = versions.get(items.model)
        if version is None:
            names = ", ".join(sorted(versions))
            known = f"must be one of {names}" if names else "is unknown, no model has been added"
            failure = Failure(UnknownModel.code, f"the model {known}, got {items.model}")
            return _ModelBatch(items, NO_VERSION, _all_failed(items.texts, failure))
        try:
            predictor = self.models.predictor(version)
        except ModelUnavailable as error:
            failure = Failure(error.code, error.detail)
            return _ModelBatch(items, version.id, _all_failed(items.texts, failure))
        batch = load_batch(items.texts, predictor.signature)

        def wants_more(size: int) -> bool:
            if self.stop.is_set():
                raise Stopped
            return size <= max_bytes

        found = predictor.predict_batch(batch, wants_more)
        rows = len(found.results) - found.results.count(None)
        return _ModelBatch(items, version.id, to_item_results(batch, found), rows)


def _all_failed(item_ids: Iterable[int], failure: Failure) -> ItemResults:
    return ItemResults({}, dict.fromkeys(item_ids, failure))


def _up_to(until: int | None, batch: _ModelBatch) -> Predicted:
    """Return the results of the items up to the id `until`; all of them if it is None."""
    found = batch.results
    results = VersionResults(batch.model_id, found.predictions, found.failures, found.labels)
    if until is not None:
        results = results.without({item_id for item_id in results.item_ids if item_id > until})
    return Predicted(batch.items, results)
