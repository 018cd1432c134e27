"""One batch: claim, read, predict, store.

The claim bounds what a batch holds in memory. Before the store, nothing is written but the claim,
which expires if the process dies. The store is one transaction that checks the claim first.
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
from batchline.ml.data_loader import Batch, ItemResults, load_batch, predict_rows, to_item_results
from batchline.ml.outputs import Result
from batchline.ml.predictor import Predictor
from batchline.registry.loaded import ModelCache
from batchline.registry.version import Version
from batchline.task.hand import Hand
from batchline.task.pace import Pace


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
    """The job was asked to stop in the middle of a batch, and released its claim."""


@dataclass(frozen=True, slots=True)
class _ModelBatch:
    """The results for the items of one model, and how many rows were predicted."""

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
    """What all batches of one job process share. Worker threads call it at the same time."""

    database: Database
    models: ModelCache
    hand: Hand
    stop: threading.Event
    pace: Pace = field(default_factory=Pace)
    guess: Guess = field(default_factory=Guess)

    def predict(self, claim: Claim) -> Outcome:
        """Predict the claimed items and store the results. This completes the claim.

        Raises:
            Stopped: the job is asked to stop. Nothing was stored, and the items are free.
            ClaimLost: the batch took so long that another job claimed its items.
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
        """The versions that predict now, by the name of their model."""
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
        """Predict the items of each model, or the first ones, as many as the memory may hold."""
        found: list[_ModelBatch] = []
        size = 0
        for each in items:  # in the order of their first items
            if size > RESULTS_MAX_BYTES:
                nothing = ItemResults({}, {}, until=min(each.texts) - 1)
                found.append(_ModelBatch(each, NO_VERSION, nothing))
                continue
            batch = self._predict_model(each, versions, RESULTS_MAX_BYTES - size)
            size += sum(map(len, batch.results.predictions.values()))
            found.append(batch)
        return found

    def _predict_model(
        self, items: ModelItems, versions: Mapping[str, Version], max_bytes: int
    ) -> _ModelBatch:
        version = versions.get(items.model)
        if version is None:
            names = ", ".join(sorted(versions)) or "none"
            failure = Failure(
                UnknownModel.code, f"there is no model {items.model}; there are {names}"
            )
            return _ModelBatch(items, NO_VERSION, _all_failed(items.texts, failure))
        try:
            predictor = self.models.predictor(version)
        except ModelUnavailable as error:
            failure = Failure(error.code, error.detail)
            return _ModelBatch(items, version.id, _all_failed(items.texts, failure))
        batch = load_batch(items.texts, predictor.signature)
        row_results = self._predict(batch, predictor, max_bytes)
        rows = len(row_results) - row_results.count(None)
        return _ModelBatch(items, version.id, to_item_results(batch, row_results), rows)

    def _predict(self, batch: Batch, predictor: Predictor, max_bytes: int) -> list[Result | None]:
        """Predict in calls of a bounded size, between which the job may stop.

        The results that are missing at the end did not fit into `max_bytes`.
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
                for index, result in zip(part.places[start : start + rows], found, strict=True):
                    results[index] = result
                size += sum(map(len, [each for each in found if type(each) is str]))
        return results


def _all_failed(item_ids: Iterable[int], failure: Failure) -> ItemResults:
    return ItemResults({}, dict.fromkeys(item_ids, failure))


def _up_to(until: int | None, batch: _ModelBatch) -> Predicted:
    """The results up to the first item, of any model, that has none."""
    found = VersionResults(batch.model_id, batch.results.predictions, batch.results.failures)
    if until is not None:
        found = found.without({item_id for item_id in found.item_ids if item_id > until})
    return Predicted(batch.items, found)
