"""Can rows be batched? Predict the same rows unbatched, in pairs and in large batches."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import inf
from random import Random
from typing import Any

import numpy as np

from batchline.constants import CALL_MAX_ROWS, PROOF_SECONDS
from batchline.errors import ConfigurationError, ModelFailed
from batchline.ml.batching import Batching
from batchline.ml.calls import call, count_entries, filled
from batchline.ml.differences import (
    Difference,
    difference,
)
from batchline.ml.examination.batch_dimension import BatchDimension
from batchline.ml.rows import RowTensors
from batchline.ml.session import Session


def per_row_outputs(session: Session, rows: RowTensors, layout: BatchDimension) -> list[bool]:
    """Return for each output whether it has an entry per row, as far as single rows can tell.

    Raises:
        ModelFailed: the model raised an error.
    """
    if not layout.axis:
        return [False] * len(session.outputs)
    found = [True] * len(session.outputs)
    for place in range(len(rows)):
        padded = filled(rows[[place]], layout.size)
        outputs = session.run({**padded.tensors, **padded.once})
        counts = map(count_entries, outputs)
        found = [was and count == len(padded) for was, count in zip(found, counts, strict=True)]
    return found


def detect_batching(
    session: Session, rows: RowTensors, batching: Batching, per_row: Sequence[bool]
) -> Batching:
    """Return this batching mode if trials confirm it, otherwise one row per call.

    Args:
        rows: at least two rows, each of which the model accepts.

    Raises:
        ConfigurationError: the model gives another prediction for the same row each time.
    """
    single = replace(batching, size=1) if batching.size is None else batching
    started = time.perf_counter()
    alone = [call(session, rows[[place]], single, per_row) for place in range(len(rows))]
    seconds = (time.perf_counter() - started) / len(rows)
    _must_repeat(session, rows, single, per_row, alone)
    batching = replace(batching, row_bytes=_row_bytes(rows, alone))
    if batching.size == 1:
        return batching
    if not all(per_row):
        names = ", ".join(
            o.name for o, each in zip(session.outputs, per_row, strict=True) if not each
        )
        return replace(batching, size=1, reason=f"the output {names} has no entry per row")
    most = batching.size or max(2, min(CALL_MAX_ROWS, int(PROOF_SECONDS / max(seconds, 1e-6))))
    most = min(most, max(2, batching.call_rows))
    worst = Difference(0.0, False)
    for company in _trial_batches(len(rows), most):
        try:
            together = call(session, rows[company], batching, per_row)
        except ModelFailed as error:
            reason = f"the model fails with {len(company)} rows at once: {error.detail}"
            return replace(batching, size=1, reason=reason)
        for place, row in enumerate(company):
            worst = worst.joined(difference(_entry(together, place), _entry(alone[row], 0)))
    if worst.exceeds:
        reason = f"predictions change when batched, by {_told(worst.largest)}"
        return replace(batching, size=1, difference=_finite(worst.largest), reason=reason)
    return replace(batching, difference=worst.largest)


def _must_repeat(
    session: Session,
    rows: RowTensors,
    batching: Batching,
    per_row: Sequence[bool],
    first: Sequence[Sequence[Any]],
) -> None:
    for place in reversed(range(len(rows))):
        again = call(session, rows[[place]], batching, per_row)
        found = difference(_entry(again, 0), _entry(first[place], 0))
        if found.exceeds:
            raise ConfigurationError(
                "the model gives another prediction for the same row each time: they differ by "
                f"{_told(found.largest)}",
                hint="export the model without dropout, sampling, or a state that it keeps",
            )


def _finite(largest: float) -> float | None:
    """Return None for infinity: another label or shape has no difference in numbers."""
    return None if largest == inf else largest


def _told(largest: float) -> str:
    return "another label or shape" if largest == inf else f"{largest:.3g}"


def _trial_batches(rows: int, most: int) -> Iterator[list[int]]:
    """Return which rows to predict together: pairs, all, and many, in different orders."""
    random = Random(0)  # noqa: S311, not a secret
    everyone = list(range(rows))
    for place in range(min(rows, 4)):
        yield [place, (place + 1) % rows]
    for count in sorted({min(count, most) for count in (2, 3, rows, 7 * rows, most)}):
        for _ in range(2):
            yield [random.choice(everyone) for _ in range(count)]


def _entry(outputs: Sequence[Any], place: int) -> list[Any]:
    return [output[place] for output in outputs]


def _row_bytes(rows: RowTensors, alone: Sequence[Sequence[Any]]) -> int:
    given = max(sum(_size(output) for output in outputs) for outputs in alone)
    return max(1, rows.nbytes // len(rows) + given)


def _size(output: Any) -> int:
    return output.nbytes if isinstance(output, np.ndarray) else 0
