"""Find out the signature, the labels and the batching mode of a new model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from batchline.errors import ConfigurationError, ModelFailed
from batchline.ml.batching import Batching
from batchline.ml.calls import call
from batchline.ml.content import ModelContent
from batchline.ml.examination import samples
from batchline.ml.examination.batch_dimension import BatchDimension, batch_dimensions
from batchline.ml.examination.batching import detect_batching, per_row_outputs
from batchline.ml.examination.labels import Classes, Labels, find_classes, has_unnamed_classes
from batchline.ml.examination.onnx_file import class_labels
from batchline.ml.examination.samples import MIN_ROWS
from batchline.ml.external_data import check_ranges, external_tensors
from batchline.ml.rows import RowTensors
from batchline.ml.session import DTYPES, Runtime, Session
from batchline.ml.signature import Output, Signature


@dataclass(frozen=True, slots=True)
class ModelReport:
    """The result of examining a model. `notes` are for people."""

    signature: Signature
    batching: Batching
    notes: tuple[str, ...] = ()


def examine(
    content: ModelContent,
    name: str,
    *,
    labels: Labels = None,
    probabilities: str | None = None,
    sample: tuple[str, bytes] | None = None,
    runtime: Runtime | None = None,
) -> ModelReport:
    """Open the model, try it on rows, and find out whether they can be batched.

    Args:
        name: the name of the model in errors.
        labels: the labels of a label file, or None for the model's own.
        probabilities: the name of the output with the class probabilities, or None to find it.
        sample: name and content of a file with rows to try, or None for made-up rows.

    Raises:
        ConfigurationError: the model cannot be served.
    """
    check_ranges(external_tensors(content.model, name), content.external, name)
    session = Session.open(content, name, runtime or Runtime())
    wanted = _index_of(session, probabilities)
    reason = ""
    for layout in batch_dimensions(session.inputs, DTYPES, name):
        try:
            rows, per_row = _try_rows(session, layout, sample, name)
            batching = _try_batching(session, layout, rows, per_row)
        except ModelFailed as error:
            reason = reason or error.detail
            continue
        batching = replace(batching, reason=batching.reason or _why(layout, reason))
        outputs = _together(session, rows, batching, per_row)
        classes = find_classes(outputs, labels, partial(class_labels, content.model), wanted)
        return _found(session, layout, outputs, per_row, batching, classes)
    raise ConfigurationError(
        f"{name} does not accept made-up rows: {reason}",
        hint="give rows that it accepts: `batchline models add NAME FILE --sample ROWS.json`",
    )


def _index_of(session: Session, output: str | None) -> int | None:
    names = [each.name for each in session.outputs]
    if output is not None and output not in names:
        raise ConfigurationError(
            f"the model has no output {output}", hint=f"name one of its outputs: {', '.join(names)}"
        )
    return None if output is None else names.index(output)


def _try_batching(
    session: Session, layout: BatchDimension, rows: RowTensors, per_row: Sequence[bool]
) -> Batching:
    """Return the batching mode of this reading of the inputs.

    Raises:
        ModelFailed: the fixed first dimension is not a batch, but part of one row.
    """
    found = detect_batching(session, rows, Batching(layout.size, layout.axis), per_row)
    if layout.size is not None and found.size != layout.size:
        raise ModelFailed(found.reason)
    return found


def _why(layout: BatchDimension, reason: str) -> str:
    if not layout.axis:
        return f"the inputs have no batch dimension{'; ' if reason else ''}{reason}"
    if layout.size is not None:
        return f"the batch dimension has the fixed size {layout.size}"
    return ""


def _try_rows(
    session: Session, layout: BatchDimension, sample: tuple[str, bytes] | None, name: str
) -> tuple[RowTensors, list[bool]]:
    """Return rows that the model accepts, and which outputs have an entry per row."""
    problem = ModelFailed("there are not enough rows to try")
    for rows in _candidates(layout, sample):
        taken = []
        for place in range(len(rows)):
            try:
                per_row_outputs(session, rows[[place]], layout)
            except ModelFailed as error:
                problem = error
            else:
                taken.append(place)
        if len(taken) >= MIN_ROWS:
            return rows[taken], per_row_outputs(session, rows[taken], layout)
    if sample is not None:
        raise ConfigurationError(
            f"{name} does not accept the sample rows: {problem.detail}",
            hint=f"give at least {MIN_ROWS} rows that it accepts",
        )
    raise problem


def _candidates(layout: BatchDimension, sample: tuple[str, bytes] | None) -> Iterator[RowTensors]:
    if sample is None:
        yield from samples.made_up(layout.inputs)
    else:
        name, text = sample
        yield samples.given(text, Signature(layout.inputs), name)


def _found(
    session: Session,
    layout: BatchDimension,
    outputs: Sequence[Any],
    per_row: Sequence[bool],
    batching: Batching,
    classes: Classes | None,
) -> ModelReport:
    declared = [
        Output(each.name, _dtype(output), _shape(each, row_axis), row_axis)
        for each, output, row_axis in zip(session.outputs, outputs, per_row, strict=True)
    ]
    notes = [
        f"the output {each.name} is declared with shape {list(each.shape)}, but has {list(came)}"
        for each, output in zip(declared, outputs, strict=True)
        if isinstance(output, np.ndarray) and not _fits(each.shape, came := output.shape[1:])
    ]
    if has_unnamed_classes(outputs, classes):
        notes.append(
            "the labels cannot be matched to the probabilities; name them with --labels FILE"
        )
    signature = Signature(layout.inputs, tuple(declared))
    if classes is not None:
        name = declared[classes.output].name
        signature = replace(signature, labels=classes.names, probabilities=name)
    return ModelReport(signature, batching, tuple(notes))


def _together(
    session: Session, rows: RowTensors, batching: Batching, per_row: Sequence[bool]
) -> list[Any]:
    """Return the outputs of all rows, predicted unbatched, as one array if their shapes allow."""
    single = replace(batching, size=1) if batching.size is None else batching
    alone = [call(session, rows[[place]], single, per_row) for place in range(len(rows))]
    joined: list[Any] = []
    for parts in zip(*alone, strict=True):
        if all(isinstance(part, list) for part in parts):
            joined.append([entry for part in parts for entry in part])
        elif len({part.shape for part in parts}) == 1:
            joined.append(np.concatenate(parts))
        else:
            joined.append(list(np.concatenate([part.ravel() for part in parts])))
    return joined


def _dtype(output: Any) -> str:
    if not isinstance(output, np.ndarray):
        return "map" if output and isinstance(output[0], dict) else "list"
    return "str" if output.dtype.kind in "OU" else str(output.dtype)


def _shape(declared: Any, per_row: bool) -> tuple[int | str, ...]:
    shape = [size if isinstance(size, int) else str(size or "") for size in declared.shape or ()]
    return tuple(shape[1:] if per_row else shape)


def _fits(declared: Sequence[int | str], found: Sequence[int]) -> bool:
    return len(declared) == len(found) and all(
        type(size) is str or size == other for size, other in zip(declared, found, strict=True)
    )
