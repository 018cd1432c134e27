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

    def accepts(self, sets: Sequence[Sequence[Feature]]) -> bool:
        """Whether rows without some features get finite numbers, in batches as one by one.

        Args:
            sets: the features that are missing in one row each. Between these rows, there are rows
                that lack nothing.
        """
        try:
            return all(map(self._agree, self._batches(sets)))
        except ModelFailed:
            return False

    def _batches(self, sets: Sequence[Sequence[Feature]]) -> Iterator[list[RowTensors]]:
        """Return rows in turn with and without missing values, as many as a call may have."""
        rows = []
        for place, features in enumerate(sets):
            row = self.rows[[place % len(self.rows)]]
            rows += [_without(row, features), row]
        most = self.batching.call_rows
        yield from (rows[at : at + most] for at in range(0, len(rows), most))

    def _agree(self, rows: Sequence[RowTensors]) -> bool:
        size = self.batching.size
        single = replace(self.batching, size=1) if size is None else self.batching
        alone = [call(self.session, row, single, self.signature) for row in rows]
        if not all(_is_finite(output) for outputs in alone for output in outputs):
            return False
        together = call(self.session, _joined(rows), self.batching, self.signature)
        for place, outputs in enumerate(alone):
            found, expected = [each[place] for each in together], [each[0] for each in outputs]
            if difference(found, expected).exceeds:
                return False
        return True


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
