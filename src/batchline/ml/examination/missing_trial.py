"""Try a model on rows with missing values: finite numbers, and the same ones when batched?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from batchline.errors import ModelFailed
from batchline.ml.batching import Batching
from batchline.ml.calls import call
from batchline.ml.differences import difference
from batchline.ml.features import Feature
from batchline.ml.rows import RowTensors
from batchline.ml.session import Session
from batchline.ml.signature import Signature


@dataclass(frozen=True, slots=True)
class MissingTrial:
    """A model with its batching mode, and rows that it accepts."""

    session: Session
    signature: Signature
    batching: Batching
    rows: RowTensors

    def of_finite_rows(self) -> "MissingTrial":
        """Return a trial with the rows that get finite numbers if nothing is missing."""
        rows = [self.rows[[place]] for place in range(len(self.rows))]
        finite = [place for place, row in enumerate(rows) if _is_finite(self._alone(row))]
        return replace(self, rows=self.rows[finite])

    def accepts(self, sets: Sequence[Sequence[Feature]]) -> bool:
        """Whether rows without some features get finite numbers, in batches as one by one.

        Args:
            sets: the features that are missing in one row each. Each batch also has rows that lack
                nothing.
        """
        if not len(self.rows):
            return False
        try:
            return all(map(self._agree, self._batches(sets)))
        except ModelFailed:
            return False

    def _batches(self, sets: Sequence[Sequence[Feature]]) -> Iterator[list[RowTensors]]:
        """Return rows with missing values next to others, as many as a call may have."""
        most, count = self.batching.call_rows, len(self.rows)
        company = [self.rows[[place]] for place in range(min(count, most // 2))]
        size = most - len(company)
        for start in range(0, len(sets), size):
            part = enumerate(sets[start : start + size], start)
            lacking = [_without(self.rows[[place % count]], features) for place, features in part]
            yield [*lacking, *company]

    def _agree(self, rows: Sequence[RowTensors]) -> bool:
        alone = list(map(self._alone, rows))
        if not _is_finite(alone):
            return False
        together = call(self.session, _joined(rows), self.batching, self.signature)
        for place, outputs in enumerate(alone):
            found, expected = [each[place] for each in together], [each[0] for each in outputs]
            if difference(found, expected).exceeds:
                return False
        return True

    def _alone(self, row: RowTensors) -> list[Any]:
        size = self.batching.size
        single = replace(self.batching, size=1) if size is None else self.batching
        return call(self.session, row, single, self.signature)


def _without(row: RowTensors, features: Sequence[Feature]) -> RowTensors:
    tensors = {name: tensor.copy() for name, tensor in row.tensors.items()}
    for each in features:
        place = ... if each.place is None else (..., each.place)
        tensors[each.of.name][place] = np.nan
    return RowTensors(tensors, row.once)


def _joined(rows: Sequence[RowTensors]) -> RowTensors:
    names = rows[0].tensors
    tensors = {name: np.concatenate([row.tensors[name] for row in rows]) for name in names}
    return RowTensors(tensors, rows[0].once)


def _is_finite(output: Any) -> bool:
    if isinstance(output, dict):
        return _is_finite(list(output.values()))
    if isinstance(output, list | tuple):
        return all(map(_is_finite, output))
    found = np.asarray(output)
    return found.dtype.kind != "f" or bool(np.isfinite(found).all())
