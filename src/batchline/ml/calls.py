"""Call a model with rows, in the batching mode that was detected for it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from batchline.errors import ModelFailed
from batchline.ml.batching import Batching
from batchline.ml.rows import RowTensors
from batchline.ml.session import Session


def call(
    session: Session, rows: RowTensors, batching: Batching, per_row: Sequence[bool]
) -> list[Any]:
    """Return the outputs for up to `call_rows` rows, each with the batch dimension first.

    Args:
        per_row: for each output, whether it has an entry per row. Otherwise the whole output
            belongs to the only row of the call.

    Raises:
        ModelFailed: the model raised an error, or gave another number of results than rows.
    """
    if not batching.axis:
        outputs = session.run({name: t[0] for name, t in rows.tensors.items()} | dict(rows.once))
    else:
        padded = filled(rows, batching.size)
        outputs = session.run({**padded.tensors, **rows.once})
        _check_counts(session, outputs, per_row, len(padded))
    split = [batching.axis and each for each in per_row]
    return [
        output[: len(rows)] if each else _as_one_row(output)
        for output, each in zip(outputs, split, strict=True)
    ]


def filled(rows: RowTensors, size: int | None) -> RowTensors:
    if size is None or len(rows) == size:
        return rows
    return rows[[min(place, len(rows) - 1) for place in range(size)]]


def _check_counts(
    session: Session, outputs: Sequence[Any], per_row: Sequence[bool], rows: int
) -> None:
    for declared, output, each in zip(session.outputs, outputs, per_row, strict=True):
        given = count_entries(output)
        if each and given != rows:
            raise ModelFailed(f"output {declared.name} has {given} results for {rows} rows")


def count_entries(output: Any) -> int:
    return len(output) if isinstance(output, list) or np.ndim(output) else 0


def _as_one_row(output: Any) -> Any:
    return output[np.newaxis] if isinstance(output, np.ndarray) else [output]
