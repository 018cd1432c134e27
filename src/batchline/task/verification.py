"""Verify stored predictions: compute them again from the items' data, and compare."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from batchline.constants import BEFORE_ALL_IDS, VERIFY_PAGE_ITEMS
from batchline.db.cruds import verification
from batchline.db.cruds.items import text_of
from batchline.db.cruds.verification import StoredPrediction
from batchline.db.database import Database
from batchline.db.scope import IdRange
from batchline.errors import Failure
from batchline.ml.data_loader import load_batch, to_item_results
from batchline.ml.differences import differs
from batchline.ml.predictor import Predictor
from batchline.registry.loaded import ModelCache
from batchline.registry.version import Version


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """A stored prediction that is not what the version predicts for the item's data."""

    item_id: int
    version: Version
    stored: str
    computed: str


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies the predictions of one version at a time.

    Args:
        sample: how many items per version to verify, or None for all.
        since: only predictions that were stored then or later.
    """

    database: Database
    models: ModelCache
    sample: int | None = None
    since: datetime | None = None

    def verify(
        self, version: Version, advance: Callable[[int], None] = lambda items: None
    ) -> Iterator[Discrepancy]:
        """Return every prediction that differs.

        Args:
            advance: called with the number of items that were verified.

        Raises:
            ModelUnavailable: the version's file cannot be loaded.
            DatabaseUnavailable: the database does not respond.
        """
        predictor = self.models.predictor(version)
        for page in self._pages(version):
            yield from _compare(page, version, predictor)
            advance(len(page))

    def _pages(self, version: Version) -> Iterator[list[StoredPrediction]]:
        if self.sample is not None:
            yield from self._sampled(version, self.sample)
            return
        after = BEFORE_ALL_IDS
        while page := self._read(version, after):
            yield page
            after = page[-1].item_id

    def _read(self, version: Version, after: int) -> list[StoredPrediction]:
        with self.database.read() as connection:
            return verification.read_page(
                connection, version.id, after, VERIFY_PAGE_ITEMS, self.since
            )

    def _sampled(self, version: Version, size: int) -> Iterator[list[StoredPrediction]]:
        """Items at random ids. Each costs one short probe of an index."""
        with self.database.read() as connection:
            ends = verification.id_range(connection, version.id, self.since)
            if ends is None:
                return
            if ends[1] - ends[0] < size:
                ids = set(range(ends[0], ends[1] + 1))
            else:
                probes = (
                    verification.next_id(connection, version.id, start, self.since)
                    for start in _distinct(ends, size)
                )
                ids = {item_id for item_id in probes if item_id is not None}
        found = sorted(ids)
        for start in range(0, len(found), VERIFY_PAGE_ITEMS):
            part = found[start : start + VERIFY_PAGE_ITEMS]
            # A connection must not stay idle while the model runs: servers end it.
            with self.database.read() as connection:
                page = verification.read_some(connection, version.id, part, self.since)
            yield page


def _distinct(ends: IdRange, size: int) -> set[int]:
    """Return so many ids of this range, which `random.sample` may find too large."""
    found: set[int] = set()
    while len(found) < size:
        found.add(random.randint(*ends))  # noqa: S311, no secret
    return found


def _compare(
    page: Sequence[StoredPrediction], version: Version, predictor: Predictor
) -> Iterator[Discrepancy]:
    batch = load_batch({each.item_id: each.data for each in page}, predictor.signature)
    results = to_item_results(batch, predictor.predict_batch(batch))
    for each in page:
        computed, label = results.predictions.get(each.item_id), results.labels.get(each.item_id)
        if text_of(each.model) != version.name:
            other = f"the item is for the model {text_of(each.model)}"
            yield Discrepancy(each.item_id, version, each.prediction, other)
        elif computed is None:
            failure = _in_words(results.failures[each.item_id])
            yield Discrepancy(each.item_id, version, each.prediction, failure)
        elif differs(each.prediction, computed):
            yield Discrepancy(each.item_id, version, each.prediction, computed)
        elif (stored := text_of(each.label)) not in (None, label):  # older versions stored none
            yield Discrepancy(each.item_id, version, f"label {stored}", f"label {label}")


def _in_words(failure: Failure) -> str:
    return f"{failure.code}: {failure.detail}"
