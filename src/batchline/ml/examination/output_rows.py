"""Where the rows are in each output: call the model with one, two and three rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from batchline.errors import ModelFailed
from batchline.ml.calls import filled, to_feeds
from batchline.ml.examination.batch_dimension import BatchDimension
from batchline.ml.rows import RowTensors
from batchline.ml.session import Session
from batchline.ml.signature import Output, Signature

COUNTS = (1, 2, 3)
"""Numbers of rows that tell the batch dimension from others."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A reading of the inputs, with the outputs that belong to it.

    `problem` is the model's error with several rows, or None if it accepts them.
    """

    layout: BatchDimension
    signature: Signature
    problem: str | None = None


def try_outputs(
    session: Session, rows: RowTensors, layout: BatchDimension, constants: frozenset[str]
) -> Trial:
    """Find out which outputs have an entry per row, and along which axis.

    Args:
        rows: rows that the model accepts one by one.
        constants: the outputs that are computed from no input.

    Raises:
        ModelFailed: the model raised an error with one row, or with a batch of its fixed size.
    """
    if not layout.axis:
        whole = tuple(_output(each, per_row=False) for each in session.outputs)
        return Trial(layout, Signature(layout.inputs, whole))
    found: list[tuple[int, list[Any]]] = []
    problem = None
    for count in COUNTS if layout.size is None else (layout.size,):
        some = rows[[place % len(rows) for place in range(count)]]
        try:
            given = session.run(to_feeds(filled(some, layout.size), layout.inputs))
        except ModelFailed as error:
            if not found:
                raise
            problem = error.detail
            break
        found.append((count, given))
    outputs = tuple(
        _output(declared, constant=True, per_row=False)
        if declared.name in constants
        else _form(declared, [(count, each[place]) for count, each in found], layout)
        for place, declared in enumerate(session.outputs)
    )
    return Trial(layout, Signature(layout.inputs, outputs), problem)


def _form(declared: Any, given: Sequence[tuple[int, Any]], layout: BatchDimension) -> Output:
    if not all(isinstance(output, list) for _, output in given):
        axis = _axis(declared, given, layout)
        return _output(declared, per_row=axis is not None, axis=axis or 0)
    tensors = all(isinstance(part, np.ndarray) for _, output in given for part in output)
    lengths = {len(output) for _, output in given}
    if tensors and len(lengths) == 1:
        parts = [
            _axis(declared, [(count, output[place]) for count, output in given], layout)
            for place in range(min(lengths))
        ]
        if parts and parts[0] is not None and len(set(parts)) == 1:
            return _output(declared, listed=True, axis=parts[0])
    return _output(declared, per_row=all(len(output) == count for count, output in given))


def _axis(declared: Any, given: Sequence[tuple[int, Any]], layout: BatchDimension) -> int | None:
    """Return the axis that always has as many entries as there are rows, or None.

    Of several, the one with the name of the batch dimension is meant, else the first. If only one
    row at a time was possible, any dimension may have the size 1 by chance, so its declared name
    and size count.
    """
    dimensions = {np.ndim(output) for _, output in given}
    if len(dimensions) != 1:
        return None
    fitting = [
        axis
        for axis in range(dimensions.pop())
        if all(output.shape[axis] == count for count, output in given)
    ]
    names = list(declared.shape or ()) if "seq" not in declared.type else []
    for axis in fitting:
        if layout.name and names[axis : axis + 1] == [layout.name]:
            return axis
    if len(given) > 1 or layout.size not in (None, 1):
        return next(iter(fitting), None)
    is_named = bool(names) and isinstance(names[0], str) and bool(names[0])
    return 0 if 0 in fitting and not is_named else None


def _output(
    declared: Any,
    *,
    per_row: bool = True,
    axis: int = 0,
    listed: bool = False,
    constant: bool = False,
) -> Output:
    shape = [size if isinstance(size, int) else str(size or "") for size in declared.shape or ()]
    if per_row and not listed and len(shape) > axis:
        del shape[axis]
    return Output(declared.name, "", tuple(shape), per_row, axis, listed, constant)
