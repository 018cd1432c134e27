"""One batch: claim, read, predict, store.

The size of the claim bounds the memory of a batch. Before it stores results, a batch writes only
its claim, which expires if the process dies. One transaction checks the claim and stores the
results.
"""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from batchline import redaction
from batchline.constants import BATCH_LONGEST, DEFAULT_MODEL, NO_VERSION, RESULTS_MAX_BYTES
from batchline.db import claims, work
from batchline.db.claims import Claim
from batchline.db.cruds import pending
from batchline.db.cruds.pending import ModelItems
from batchline.db.cruds.results import VersionResults
from batchline.db.database import Database
from batchline.db.scope import Backfill, Scope
from batchline.db.work import ClaimedItems, Late, Predicted
from batchline.errors import (
    CommitUnknown,
    Failure,
    ModelUnavailable,
    TimedOut,
    UnknownModel,
    ValueRejected,
)
from batchline.metrics import STORE_SECONDS
from batchline.ml.batch_results import BatchResults
from batchline.ml.data_loader import ItemResults, Stored, load_batch, to_item_results
from batchline.ml.predictor import Predictor
from batchline.ml.time_limit import TimeLimit
from batchline.registry.loaded import LeftToIsolation, ModelCache
from batchline.registry.version import Version
from batchline.task import counts, failures
from batchline.task.failures import Failures, joined
from batchline.task.hand import Hand
from batchline.task.pace import Pace
from batchline.task.traced import traced
from batchline.tracing import Tracing

RESULT_REJECTED = "result_rejected"
SHOWN_NAMES = 10
"""Models that the failure of an unknown one names."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The number of items and rows that one or more batches predicted."""

    succeeded: int = 0
    failed: int = 0
    rows: int = 0
    failures: Failures = field(default_factory=dict, compare=False)

    @property
    def items(self) -> int:
        return self.succeeded + self.failed

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(
            self.succeeded + other.succeeded,
            self.failed + other.failed,
            self.rows + other.rows,
            joined([self.failures, other.failures]),
        )


class Stopped(Exception):
    """The job was asked to stop during a batch, and released its claim."""


@dataclass(frozen=True, slots=True)
class _ModelBatch:
    """The items of one model in a batch, their results, and the number of predicted rows.

    Args:
        suspects: items without a result, which the suspects process must predict.
        put_off: suspects that took longer than most do.
    """

    items: ModelItems
    model_id: int
    results: ItemResults
    rows: int = 0
    suspects: tuple[int, ...] = ()
    put_off: tuple[int, ...] = ()

    def up_to(self, item_id: int) -> "_ModelBatch":
        """Return the batch up to this item. The items after it are left for later."""
        return replace(
            self,
            results=self.results.up_to(item_id),
            suspects=tuple(i for i in self.suspects if i <= item_id),
            put_off=tuple(i for i in self.put_off if i <= item_id),
        )

    def failed(self, item_id: int, failure: Failure) -> "_ModelBatch":
        """Return the same batch with a failure instead of its only result."""
        if item_id not in self.results.item_ids:
            return self
        return replace(self, results=_all_failed([item_id], failure))


@dataclass(frozen=True, slots=True)
class _Limit:
    """The bounds of the results of one batch: their characters, and when it ends."""

    max_bytes: int
    ends_at: float

    @property
    def is_late(self) -> bool:
        return time.monotonic() > self.ends_at


@dataclass(slots=True)
class Guess:
    """Which model the items of the next claim have: the only one of the last claim, if so."""

    model: str | None = DEFAULT_MODEL

    def learn(self, items: Sequence[ModelItems]) -> None:
        if items:
            self.model = items[0].model if len(items) == 1 else None


@dataclass(frozen=True)
class Job:
    """The batch job of one process. Its worker threads call `predict` concurrently.

    Args:
        batch_seconds: time after which a batch stores what it has, if that is an item at least.
        hurry: the time for one suspect item, or None for any. If it takes longer, it is put off,
            so that the others do not wait for it.
    """

    database: Database
    models: ModelCache
    hand: Hand
    stop: threading.Event
    pace: Pace = field(default_factory=Pace)
    guess: Guess = field(default_factory=Guess)
    batch_seconds: float = BATCH_LONGEST
    hurry: TimeLimit | None = None
    tracing: Tracing | None = None

    def predict(self, claim: Claim) -> Outcome:
        """Predict the claimed items and store the results. This completes the claim.

        Raises:
            Stopped: the job was asked to stop. Nothing was stored, and the claim is released.
            ClaimLost: the claim expired, and another job claimed its items. Nothing was stored.
            DatabaseUnavailable: nothing was stored, and the claim is released or expires.
        """
        with self.hand.holding(claim), traced(self.tracing, claim) as trace:
            with trace.step("read items"):
                claimed = work.read(self.database, claim, self.guess.model)
            self.guess.learn(claimed.items)
            with trace.step("call models"):
                batches = self._predict_all(claimed)
            with trace.step("store results"), STORE_SECONDS.timing():
                stored = self._store(claimed.claim, batches)
            trace.stored(self.database, stored, sum(each.rows for each in batches))
        succeeded = sum(len(each.predictions) for each in stored)
        failed = sum(len(each.failures) for each in stored)
        found = joined(failures.of(each.failures) for each in stored)
        counts.stored(stored, {each.model_id: each.items.model for each in batches})
        for each in batches:
            if each.rows:
                counts.predicted(each.items.model, each.rows)
        return Outcome(succeeded, failed, sum(each.rows for each in batches), found)

    def load_models_of_suspects(self) -> bool:
        """Load the models of the suspects that come next, while no process has claimed them.

        So if this process is killed meanwhile, none of them is to blame. Return whether there are
        suspects.

        Raises:
            DatabaseUnavailable: the suspects or a model could not be read.
        """
        with self.database.read() as connection:
            found = claims.next_suspects(connection)
            if found is None:
                return False
            scope, ids = found
            names = pending.models(connection, ids, scope)
        versions = self._versions_for(scope)
        for name in sorted(names & versions.keys()):
            with suppress(ModelUnavailable, LeftToIsolation):  # their items will fail
                self.models.predictor(versions[name])
        return True

    def _versions_for(self, scope: Scope) -> Mapping[str, Version]:
        """Return the version that predicts each model's items in a scope, by model name."""
        if isinstance(scope, Backfill):
            version = self.models.get(scope.model_id)
            return {version.name: version}
        return self.models.active()

    def _store(self, claim: Claim, batches: Sequence[_ModelBatch]) -> list[VersionResults]:
        until = min((e.results.until for e in batches if e.results.until is not None), default=None)
        if until is not None:
            batches = [each.up_to(until) for each in batches]
        try:
            return self._store_up_to(until, claim, batches)
        except ValueRejected as error:
            return self._store_less(claim, batches, error)

    def _store_up_to(
        self, until: int | None, claim: Claim, batches: Sequence[_ModelBatch]
    ) -> list[VersionResults]:
        predicted = list(map(_to_predicted, batches))
        suspects = [item_id for each in batches for item_id in each.suspects]
        put_off = [item_id for each in batches for item_id in each.put_off]
        try:
            return work.store(self.database, claim, predicted, until, Late(suspects, put_off))
        except CommitUnknown:
            if not work.is_stored(self.database, claim, predicted):
                raise
            return [each.results for each in predicted]

    def _store_less(
        self, claim: Claim, batches: Sequence[_ModelBatch], error: ValueRejected
    ) -> list[VersionResults]:
        """Store the first half of the items, so that one bad result is isolated.

        If it is the first item's own, that item fails. The items after these are predicted again.
        """
        item_ids = sorted(item_id for each in batches for item_id in each.results.item_ids)
        if not item_ids:
            raise error
        until = item_ids[max(0, len(item_ids) // 2 - 1)]
        batches = [each.up_to(until) for each in batches]
        if len(item_ids) > 1:
            return self._store(claim, batches)
        detail = "the database rejected the result; see the job's log"
        failure = Failure(RESULT_REJECTED, detail, cause=error.detail)
        return self._store_up_to(until, claim, [each.failed(until, failure) for each in batches])

    def _predict_all(self, claimed: ClaimedItems) -> list[_ModelBatch]:
        """Predict the items of each model, until there are enough results, or time is up."""
        versions = self._versions_for(claimed.claim.scope)
        batches: list[_ModelBatch] = []
        size, limit = 0, _Limit(RESULTS_MAX_BYTES, time.monotonic() + self.batch_seconds)
        for each in claimed.items:  # in the order of their first items
            if size > RESULTS_MAX_BYTES or (batches and limit.is_late):
                nothing = ItemResults({}, {}, until=min(each.texts) - 1)
                batches.append(_ModelBatch(each, NO_VERSION, nothing))
                continue
            version = versions.get(each.model)
            if version is None:
                failure = _unknown_model(each.model, sorted(versions))
                failed = _all_failed(each.texts, failure)
                batches.append(_ModelBatch(each, NO_VERSION, failed))
                continue
            if not isinstance(claimed.claim.scope, Backfill):
                version = self._loadable(version)
            rest = replace(limit, max_bytes=RESULTS_MAX_BYTES - size)
            batch = self._predict_model(each, version, rest, claimed.claim)
            size += batch.results.size
            batches.append(batch)
        return batches

    def _loadable(self, version: Version) -> Version:
        """Return this version, or its successor if it was replaced and removed meanwhile."""
        try:
            self.models.predictor(version)
        except ModelUnavailable:
            return self.models.active().get(version.name, version)
        except LeftToIsolation:
            pass
        return version

    def _predict_model(
        self, items: ModelItems, version: Version, limit: _Limit, claim: Claim
    ) -> _ModelBatch:
        try:
            predictor = self.models.predictor(version)
        except ModelUnavailable as error:
            failure = Failure(error.code, _without_folders(error.detail, version))
            return _ModelBatch(items, version.id, _all_failed(items.texts, failure))
        except LeftToIsolation:
            return _ModelBatch(items, version.id, ItemResults({}, {}), suspects=tuple(items.texts))
        if claim.suspect:
            hurry = None if claim.is_patient else self.hurry
            return self._predict_isolated(items, version, predictor, limit, hurry)
        results, rows = self._predict_texts(items.texts, predictor, limit)
        late = _late(results)
        return _ModelBatch(items, version.id, results.without(late), rows, tuple(late))

    def _predict_isolated(
        self,
        items: ModelItems,
        version: Version,
        predictor: Predictor,
        limit: _Limit,
        hurry: TimeLimit | None,
    ) -> _ModelBatch:
        """Predict suspect items one by one, so that the one that takes too long is known."""
        if hurry is not None:
            predictor = predictor.limited(hurry)
        found, rows, size = ItemResults({}, {}), 0, 0
        for item_id, text in items.texts.items():
            if size > limit.max_bytes or (found.item_ids and limit.is_late):
                break
            with self.hand.isolating(replace(items, texts={item_id: text})):
                alone = replace(limit, max_bytes=RESULTS_MAX_BYTES)
                one, count = self._predict_texts({item_id: text}, predictor, alone)
            found.add(one)
            rows += count
            size += one.size
        done = found.item_ids
        if len(done) < len(items.texts):
            found = replace(found, until=max(done))
        late = _late(found) if hurry is not None else []
        return _ModelBatch(items, version.id, found.without(late), rows, put_off=tuple(late))

    def _predict_texts(
        self, texts: Stored, predictor: Predictor, limit: _Limit
    ) -> tuple[ItemResults, int]:
        """Return the results of items, and the number of predicted rows."""
        batch = load_batch(texts, predictor.signature)

        def wants_more(found: BatchResults) -> bool:
            if self.stop.is_set():
                raise Stopped
            return found.size <= limit.max_bytes and not (limit.is_late and found.has_first_item)

        found = predictor.predict_batch(batch, wants_more)
        rows = len(found.results) - found.results.count(None)
        return to_item_results(batch, found), rows


def _unknown_model(name: str, known: Sequence[str]) -> Failure:
    names = ", ".join(known[:SHOWN_NAMES]) + (", …" if len(known) > SHOWN_NAMES else "")
    must = f"must be one of {names}" if names else "is unknown, no model has been added"
    return Failure(UnknownModel.code, f"the model {must}, got {name}")


def _without_folders(detail: str, version: Version) -> str:
    """Return why a model cannot be loaded, for clients. The job's log names its whole path."""
    path = redaction.location(version.location or "")
    return redaction.folders(detail.replace(path, path.rpartition("/")[2]) if path else detail)


def _all_failed(item_ids: Iterable[int], failure: Failure) -> ItemResults:
    return ItemResults({}, dict.fromkeys(item_ids, failure))


def _late(results: ItemResults) -> list[int]:
    """Return the items that took too long together."""
    return [i for i, failure in results.failures.items() if failure.code == TimedOut.code]


def _to_predicted(batch: _ModelBatch) -> Predicted:
    found = batch.results
    results = VersionResults(batch.model_id, found.predictions, found.failures, found.labels)
    return Predicted(batch.items, results)
