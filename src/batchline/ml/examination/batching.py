"""Can rows be batched? Predict the same rows unbatched, in pairs and in large batches."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import inf
from random import Random
from typing import Any

import numpy as np

from batchline.constants import CALL_MAX_ROWS, PROOF_SECONDS
from batchline.errors import ConfigurationError, ModelFailed
from batchline.ml.batching import Batching
from batchline.ml.calls import call
from batchline.ml.differences import NO_DIFFERENCE, OTHER_VALUE, Difference, difference
from batchline.ml.examination.batch_dimension import BatchDimension, Origin
from batchline.ml.examination.output_rows import Trial
from batchline.ml.rows import RowTensors
from batchline.ml.session import Session
from batchline.ml.signature import Signature

FAILED = Difference(inf, exceeds=True)
"""The model raises an error for rows that it accepts one by one, so they cannot mix."""


class NotABatch(ModelFailed):
    """Rows along this axis are not rows: they influence each other, or cannot be told apart."""


def detect_batching(
    session: Session, rows: RowTensors, trial: Trial, *, quantizes: bool = False
) -> Batching:
    """Return the batching mode that trials confirm for this reading of the inputs.

    Rows are batched freely or in batches of the fixed size if their predictions do not change. One
    row per call is for a model whose predictions change slightly, for a reason that is known, and
    for a user who named the axis.

    Args:
        rows: at least two rows, each of which the model accepts.
        quantizes: whether the model rounds numbers by the range of all rows of a call.

    Raises:
        NotABatch: the rows influence each other, and nothing says that they are rows.
        ConfigurationError: the model gives another prediction for the same row each time.
    """
    layout, signature = trial.layout, trial.signature
    batching = Batching(layout.size, layout.axis)
    single = replace(batching, size=1) if batching.size is None else batching
    started = time.perf_counter()
    alone = [call(session, rows[[place]], single, signature) for place in range(len(rows))]
    seconds = (time.perf_counter() - started) / len(rows)
    _must_repeat(session, rows, single, signature, alone)
    batching = replace(batching, row_bytes=_row_bytes(rows, alone))
    if batching.size == 1:
        return batching
    most = batching.size or max(2, min(CALL_MAX_ROWS, int(PROOF_SECONDS / max(seconds, 1e-6))))
    batches = _trial_batches(len(rows), min(most, max(2, batching.call_rows)))
    reason, worst = _compare(session, rows, trial, batching, batches, alone)
    if not reason:
        return replace(batching, difference=worst.largest)
    if batching.size is not None or not _is_explained(layout, worst, quantizes=quantizes):
        raise NotABatch(reason)
    return replace(batching, size=1, difference=_finite(worst.largest), reason=reason)


def _is_explained(layout: BatchDimension, worst: Difference, *, quantizes: bool) -> bool:
    """Whether rows that cannot be batched are rows all the same, to be predicted one per call."""
    if layout.origin is Origin.TOLD:
        return True
    is_named = layout.origin is Origin.NAMED
    if worst is FAILED:
        # A dynamic input that is given once per item may have rows of which the file says nothing.
        return is_named and not layout.has_dynamic_once
    return worst.is_rounding or (is_named and quantizes)


def _compare(
    session: Session,
    rows: RowTensors,
    trial: Trial,
    batching: Batching,
    batches: Iterable[Sequence[int]],
    alone: Sequence[Sequence[Any]],
) -> tuple[str, Difference]:
    """Return why rows cannot be batched, or "", and the largest difference that was seen."""
    if trial.problem is not None:
        return f"the model fails with 2 rows at once: {trial.problem}", FAILED
    outputs = trial.signature.outputs
    if whole := [each.name for each in outputs if not (each.per_row or each.constant)]:
        return f"the output {', '.join(whole)} has no entry per row", OTHER_VALUE
    worst = NO_DIFFERENCE
    for company in batches:
        try:
            together = call(session, rows[company], batching, trial.signature)
        except ModelFailed as error:
            return f"the model fails with {len(company)} rows at once: {error.detail}", FAILED
        for place, row in enumerate(company):
            worst = worst.joined(difference(_entry(together, place), _entry(alone[row], 0)))
    if worst.exceeds:
        return f"predictions change when batched, by {_told(worst.largest)}", worst
    return "", worst


def _must_repeat(
    session: Session,
    rows: RowTensors,
    batching: Batching,
    signature: Signature,
    first: Sequence[Sequence[Any]],
) -> None:
    for place in reversed(range(len(rows))):
        again = call(session, rows[[place]], batching, signature)
        found = difference(_entry(again, 0), _entry(first[place], 0))
        if found.exceeds:
            raise ConfigurationError(
                "the model gives another prediction for the same row each time: they differ by "
                f"{_told(found.largest)}",
                hint="export the model for inference: without dropout, sampling, a state, or batch "
                "normalization in training mode",
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
