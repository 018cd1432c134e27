"""Call a model with rows, in the batching mode that was detected for it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from batchline.errors import ModelFailed
from batchline.ml.batching import Batching
from batchline.ml.inputs import Input
from batchline.ml.rows import RowTensors, Tensor
from batchline.ml.session import Session
from batchline.ml.signature import Output, Signature


def call(session: Session, rows: RowTensors, batching: Batching, signature: Signature) -> list[Any]:
    """Return the outputs for up to `call_rows` rows, each with the batch dimension first.

    Raises:
        ModelFailed: the model raised an error, or gave another number of results than rows.
    """
    if not batching.axis:
        return [_as_one_row(output) for output in session.run(to_feeds_of_one(rows))]
    padded = filled(rows, batching.size)
    outputs = session.run(to_feeds(padded, signature.inputs))
    by_row = [
        _by_row(output, declared, len(padded))
        for output, declared in zip(outputs, signature.outputs, strict=True)
    ]
    return [output[: len(rows)] for output in by_row] if len(padded) > len(rows) else by_row


def to_feeds_of_one(row: RowTensors) -> Mapping[str, Tensor]:
    """Return the tensors of a model without a batch dimension, which takes one row per call."""
    feeds = {name: np.asarray(tensor[0], tensor.dtype) for name, tensor in row.tensors.items()}
    return feeds | dict(row.once)


def to_feeds(rows: RowTensors, inputs: Sequence[Input]) -> Mapping[str, Tensor]:
    """Return the tensors as the model takes them, with the batch dimension at its place."""
    feeds = {**rows.tensors, **rows.once}
    for each in inputs:
        if each.axis and not each.per_item:
            moved = np.moveaxis(feeds[each.name], 0, each.axis)
            feeds[each.name] = np.ascontiguousarray(moved)
    return feeds


def filled(rows: RowTensors, size: int | None) -> RowTensors:
    """Return the rows, filled up to `size` with the last one."""
    if size is None or len(rows) == size:
        return rows
    return rows[[min(place, len(rows) - 1) for place in range(size)]]


def _by_row(output: Any, declared: Output, rows: int) -> Any:
    """Return one entry of this output per row."""
    if declared.constant:
        return [output] * rows
    if declared.listed:
        parts = [_rows_first(part, declared, rows) for part in output]
        return list(map(list, zip(*parts, strict=True)))
    return _rows_first(output, declared, rows) if declared.per_row else _as_one_row(output)


def _rows_first(output: Any, declared: Output, rows: int) -> Any:
    if declared.axis and isinstance(output, np.ndarray) and output.ndim > declared.axis:
        output = np.moveaxis(output, declared.axis, 0)
    given = count_entries(output)
    if given != rows:
        raise ModelFailed(f"output {declared.name} has {given} results for {rows} rows")
    return output


def count_entries(output: Any) -> int:
    return len(output) if isinstance(output, list) or np.ndim(output) else 0


def _as_one_row(output: Any) -> Any:
    return output[np.newaxis] if isinstance(output, np.ndarray) else [output]
